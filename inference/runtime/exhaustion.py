"""Failed allocations of a model's run, as errors that say what to do."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from inference.dtypes import numpy_dtype
from inference.errors import NO_MEMORY, InputMismatch, InsufficientMemory
from inference.system.memory import show_bytes

if TYPE_CHECKING:
    from inference.errors import InferenceError

_TENSOR = re.compile(
    r"allocating tensor with shape\[(?P<shape>[\d,]*)\] and type (?P<dtype>\w+)"
)
_DTYPES = {"float": "float32", "double": "float64", "half": "float16"}
"""TensorFlow's names of types in its messages, where NumPy has others."""

_STRING_BYTES = 24
"""Of TensorFlow's `tstring`, without its text."""


def explain_exhaustion(text: str, memory: int) -> InferenceError:
    """Return the error to raise for TensorFlow's `text`, on a machine of so many bytes.

    A tensor that could never be had is the request's fault, another the moment's.
    """
    found = _TENSOR.search(text)
    if found is None:
        return InsufficientMemory()

    nbytes = _nbytes(found["shape"], found["dtype"])
    size = "" if nbytes is None else f", {show_bytes(nbytes)},"
    tensor = f"a tensor of shape [{found['shape']}]{size}"
    if nbytes is None or nbytes <= memory:
        return InsufficientMemory(f"The model needed {tensor} for this. {NO_MEMORY}")

    return InputMismatch(
        f"The model would need {tensor} for this, and the server has "
        f"{show_bytes(memory)} of memory. Send fewer rows, or smaller numbers where "
        "they are sizes, lengths or depths."
    )


def _nbytes(shape: str, dtype: str) -> int | None:
    """Return a tensor's bytes, or `None` if its type is unknown."""
    try:
        size = numpy_dtype(_DTYPES.get(dtype, dtype)).itemsize
    except TypeError:
        return None

    if dtype == "string":
        size = _STRING_BYTES

    return size * math.prod(int(dim) for dim in shape.split(",") if dim)
