"""The messages between the server and its decoder processes.

Two pipes carry requests (sizes and a pickled `Task`) and answers (the size and a
pickled `Answer`). A shared buffer holds the body at offset 0, then the buffers of the
answer's arrays, each aligned. Both ends are ours, so pickle is safe.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from service.codecs.tfserving.request import NO_OPTIONS, Form, Options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference import Array, Signature

REQUEST = struct.Struct("<QQ")
"""Sizes of the pickled `Task` and of the body, in bytes."""

ANSWER = struct.Struct("<Q")
"""Size of the pickled `Answer`, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The model's signatures, to bind a body to. Without any, it is only decoded."""

    signatures: Mapping[str, Signature]
    default: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An array and the sizes of its buffers: data, or for strings lengths and bytes."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A decoded body, or an error: the name of an `InferenceError` and its text.

    `offset` is that of the first buffer of `tensors`.
    """

    offset: int = 0
    form: Form = Form.ROWS
    signature: str | None = None
    options: Options = NO_OPTIONS
    tensors: Sequence[Tensor] = ()
    error: tuple[str, str] | None = None


def pack(name: str, array: Array) -> tuple[Tensor, list[memoryview]]:
    """Return the description of an array and its buffers."""
    buffers = _pack_strings(array) if array.dtype == object else [_bytes_of(array)]
    tensor = Tensor(
        name=name,
        dtype=array.dtype,
        shape=array.shape,
        sizes=tuple(buffer.nbytes for buffer in buffers),
    )
    return tensor, buffers


def _pack_strings(array: Array) -> list[memoryview]:
    items = array.ravel().tolist()
    lengths = np.fromiter(map(len, items), np.int64, len(items))
    return [_bytes_of(lengths), memoryview(b"".join(items))]


def _bytes_of(array: Array) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
