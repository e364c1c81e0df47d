"""Numerical agreement of outputs, to the precision that they were computed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array

TOLERANCE = {2: 2e-2, 4: 1e-5, 8: 1e-8}
"""Largest difference, as a share of the largest output, by bytes of a float."""


def is_empty(outputs: Mapping[str, Array]) -> bool:
    """Return whether no output has a number or text, as for too short rows."""
    return all(_blank(value) for value in outputs.values())


def rows_differ(outputs: Mapping[str, Array]) -> bool:
    """Return whether any output has rows that differ, or is one value for all rows."""
    return any(
        not _blank(value) and (value.ndim == 0 or not _rows_equal(value))
        for value in outputs.values()
    )


def outputs_agree(
    wanted: Mapping[str, Array], got: Mapping[str, Array], rounded: Mapping[str, int]
) -> bool:
    """Compare `got` with `wanted`; `rounded` has bytes of floats by output."""
    return all(
        _close(value, got[name], rounded.get(name, 8)) for name, value in wanted.items()
    )


def max_difference(wanted: Mapping[str, Array], got: Mapping[str, Array]) -> float:
    """Return the largest numerical difference."""
    # Infinity minus infinity is NaN; those are left out below.
    with np.errstate(invalid="ignore"):
        gaps = [
            np.abs(_wide(wanted[name]) - _wide(got[name]))
            for name in wanted
            if _floating(wanted[name]) and wanted[name].shape == got[name].shape
        ]

    return max(
        (float(_finite(max_difference).max(initial=0.0)) for max_difference in gaps),
        default=0.0,
    )


def _blank(value: Array) -> bool:
    return value.size == 0 or (_floating(value) and not _finite(value).size)


def _rows_equal(value: Array) -> bool:
    return all(_same(value[:1], value[row : row + 1]) for row in range(len(value)))


def _close(wanted: Array, got: Array, rounded: int) -> bool:
    if wanted.shape != got.shape or wanted.dtype != got.dtype:
        return False

    if not _floating(wanted):
        return _same(wanted, got)

    bound = TOLERANCE.get(min(_float_bytes(wanted), rounded), 1e-5)
    finite = _finite(wanted)
    # Relative to the largest output, absolute where that is below 1.
    scale = max(1.0, float(np.abs(finite).max(initial=0.0)))
    near = np.isclose(
        _wide(got), _wide(wanted), rtol=0, atol=bound * scale, equal_nan=True
    )
    return bool(near.all())


def _same(wanted: Array, got: Array) -> bool:
    if wanted.dtype == object or not _floating(wanted):
        return bool(np.array_equal(wanted, got))

    return bool(np.array_equal(_wide(wanted), _wide(got), equal_nan=True))


def _floating(value: Array) -> bool:
    # ml_dtypes' floats (bfloat16 and smaller) are of NumPy's kind "V".
    return value.dtype.kind in "fcV"


def _float_bytes(value: Array) -> int:
    return int(value.dtype.itemsize) // (2 if value.dtype.kind == "c" else 1)


def _wide(value: Array) -> Array:
    return value.astype(np.complex128 if value.dtype.kind == "c" else np.float64)


def _finite(value: Array) -> Array:
    wide = _wide(value)
    return np.abs(wide[np.isfinite(wide)])
