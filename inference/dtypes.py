"""TensorFlow's dtypes in NumPy, and those without numbers in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDENED: Mapping[str, str] = {
    "bfloat16": "float32",
    "float4_e2m1fn": "float32",
    "float8_e4m3b11fnuz": "float32",
    "float8_e4m3fn": "float32",
    "float8_e4m3fnuz": "float32",
    "float8_e5m2": "float32",
    "float8_e5m2fnuz": "float32",
    "int2": "int8",
    "int4": "int8",
    "uint2": "uint8",
    "uint4": "uint8",
}
"""The nearest wider dtype, for those that can't be written to JSON themselves."""


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return NumPy's dtype for TensorFlow's name; strings are objects."""
    if name == "string":
        return np.dtype(object)

    return np.dtype(getattr(ml_dtypes, name, name))
