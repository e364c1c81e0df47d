"""bfloat16 in an `.h5`: Keras writes it as opaque bytes, and can't read it again.

HDF5 has no such type, and h5py none for what it doesn't know but bytes without a
meaning, which nothing casts to numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import ml_dtypes

if TYPE_CHECKING:
    from pathlib import Path

_BYTES = 2
"""Of all types of two bytes that Keras has, bfloat16 alone is none of NumPy's."""


def readable(path: Path, copy: Path) -> Path:
    """Return a screened HDF5 file for Keras: `path`, or a `copy` in float32."""
    with h5py.File(path, "r") as file:
        opaque = _opaque(file)

        if not opaque:
            return path

        with h5py.File(copy, "w") as new:
            for key in file:
                file.copy(key, new)

            for key in file.attrs:
                new.attrs[key] = file.attrs[key]

            for name in opaque:
                values = new[name][()].view(ml_dtypes.bfloat16).astype("float32")
                del new[name]
                new[name] = values

    return copy


def _opaque(file: Any) -> list[str]:
    found: list[str] = []

    def look(name: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset) and _is_bfloat16(each):
            found.append(name)

    file.visititems(look)
    return found


def _is_bfloat16(dataset: Any) -> bool:
    kind = dataset.id.get_type()
    return isinstance(kind, h5py.h5t.TypeOpaqueID) and kind.get_size() == _BYTES
