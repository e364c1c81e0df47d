"""Floats narrowed from double with one rounding, as if from their text.

A text is rounded to a double when it is parsed, and again when that is narrowed. The
second rounding goes wrong only where the double lies halfway between two values of the
narrow dtype and the text doesn't: one float32 in 260 million.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from inference.types import Array

SHORT = 4096

_DOUBLE = np.dtype("f8")
_UINT64 = np.dtype("u8")
_BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def _bits_after(dtype: np.dtype[Any]) -> Array:
    """Return a mask of a double's bits from the second that `dtype` hasn't."""
    lost = 52 - int(ml_dtypes.finfo(dtype).nmant)
    # NumPy takes half the time for an array as for a scalar.
    return np.array((1 << (lost - 1)) - 1, _UINT64)


_AFTER = {
    dtype: _bits_after(dtype)
    for dtype in (np.dtype(np.float16), _BFLOAT16, np.dtype(np.float32))
}

# Floats beyond a dtype's range become infinity without a warning. NumPy keeps that
# setting in the context: one made ahead costs a tenth of `np.errstate`.
_QUIET = copy_context()
_QUIET.run(np.seterr, over="ignore")


def narrow(numbers: Array, dtype: np.dtype[Any]) -> Array:
    """Return doubles as `dtype`, each rounded once; beyond its range: infinity."""
    if dtype == _DOUBLE:
        return numbers

    if dtype == _BFLOAT16:
        return _QUIET.copy().run(_narrow_to_bfloat16, numbers)

    return _QUIET.copy().run(numbers.astype, dtype)


def depends_on_text(numbers: Array, narrowed: Array) -> bool:
    """Return whether some of `numbers` narrow as they should only by their text.

    That is so for none that isn't halfway between two values of the narrow dtype, and
    for few others.
    """
    after = _AFTER.get(narrowed.dtype)
    if after is None:
        return False

    # Most short texts are those of narrow values. By their bytes, since each comparison
    # of NumPy's costs as much as a short body's text.
    if numbers.size <= SHORT:
        again = narrowed.astype(_DOUBLE)
        if again.tobytes() == numbers.tobytes():
            return False

    # Halfway means one bit more than the dtype has, and none after it.
    bits = numbers.view(_UINT64) & after
    if np.count_nonzero(bits) == bits.size:
        return False

    changed = narrowed != numbers
    return bool(np.count_nonzero(changed) and np.count_nonzero(changed & (bits == 0)))


def _narrow_to_bfloat16(numbers: Array) -> Array:
    # ml_dtypes narrows through float32, which is a rounding of its own: where that
    # ends halfway between two values, the double says on which side it was.
    single = numbers.astype(np.float32)
    halfway = single.view(np.uint32) & np.uint32(0xFFFF) == 0x8000
    side = np.where(numbers > single, np.float32(np.inf), np.float32(-np.inf))
    moved = np.where(numbers == single, single, np.nextafter(single, side))
    return np.where(halfway, moved, single).astype(_BFLOAT16)
