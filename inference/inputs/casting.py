"""Arrays of numbers made into an input's dtype, as JSON's numbers would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.dtypes import numpy_dtype
from inference.errors import InputMismatch
from inference.types import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array, Signature, TensorSpec

_FLOATS = {"float16", "bfloat16", "float32", "float64"}


def cast_inputs(signature: Signature, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs with arrays of numbers cast to the signature's dtypes.

    Any number becomes a float, a whole number another kind of whole number if that
    holds it. Everything else is left for `bind` to judge. Raise `InputMismatch` for
    numbers that don't fit.
    """
    return {name: _cast(_spec(signature, name), v) for name, v in inputs.items()}


def _spec(signature: Signature, name: str) -> TensorSpec | None:
    """Return the input that a name stands for, if it is clear."""
    if name != UNNAMED:
        return signature.inputs.get(name)

    names = signature.required or list(signature.inputs)
    return signature.inputs[names[0]] if len(names) == 1 else None


def _cast(spec: TensorSpec | None, array: Any) -> Any:
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        return array

    if spec is None or spec.dtype == "string":
        return array

    dtype = numpy_dtype(spec.dtype)

    if array.dtype == dtype:
        return array

    if spec.dtype in _FLOATS:
        return _as_floats(spec, array, dtype)

    if array.dtype.kind == "f" or dtype.kind not in "iu":
        return array

    cast = array.astype(dtype)

    if not np.array_equal(cast, array):
        raise InputMismatch(
            f"input '{spec.name}' wants {spec.dtype}, which doesn't hold all numbers of"
            f" this {array.dtype} array"
        )

    return cast


def _as_floats(spec: TensorSpec, array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        cast = array.astype(dtype)

    # Infinity is a number to pass on, one too large for the dtype is a mistake.
    if not np.array_equal(np.isfinite(cast), np.isfinite(array)):
        raise InputMismatch(
            f"input '{spec.name}' wants {spec.dtype}, and a number of this"
            f" {array.dtype} array is too large for it"
        )

    return cast
