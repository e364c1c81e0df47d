"""Conversions of TensorFlow's shapes, dtypes and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf

if TYPE_CHECKING:
    from inference.types import Array, Shape

UNSERVABLE = (
    {"resource", "variant"}
    | {f"{kind}int{bits}" for kind, bits in (("q", 8), ("q", 16), ("q", 32), ("qu", 8))}
    | {"quint16"}
)
"""Handles, and quantised numbers, for which NumPy has no dtype."""


def shape_of(shape: Any) -> Shape:
    """Return a `tf.TensorShape` as a tuple, `None` for an unknown rank."""
    return None if shape.rank is None else tuple(shape.as_list())


def known_dtype(kind: int) -> Any:
    """Return the dtype of that number; `None` for one that TensorFlow doesn't have."""
    try:
        return tf.dtypes.as_dtype(kind)
    except TypeError:
        return None


def dtype_name(dtype: Any) -> str:
    """Return TensorFlow's name for a dtype, without `_ref`: `"float32"`, `"string"`."""
    return str(dtype.base_dtype.name)


def as_array(value: Any) -> Array:
    """Return a fetched value as an array; strings as an object array of `bytes`."""
    if isinstance(value, bytes):
        # NumPy's own strings lose trailing zero bytes.
        return np.asarray(value, dtype=object)

    array = np.asarray(value)

    return array.astype(object) if array.dtype.kind in "SU" else array
