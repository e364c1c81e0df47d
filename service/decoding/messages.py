"""What the server and its decoder processes say to each other.

Over two pipes: a request is its sizes and a pickled `Task`, an answer its size and a
pickled `Answer`. In an buffer: the body at 0, and the buffers that an answer announces,
each aligned. Both ends are ours, so pickle is safe.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from service.codecs.tfserving.request import Form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference import Array, Signature

REQUEST = struct.Struct("<QQ")
"""Bytes of the pickled `Task`, bytes of the body."""

ANSWER = struct.Struct("<Q")
"""Bytes of the pickled `Answer`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The model that a body is meant for. No signatures: it is only to be read."""

    signatures: Mapping[str, Signature]
    default: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """An array by its buffers: one, or for strings all lengths and all bytes."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A decoded body, or an error: the name of an `InferenceError` and its text.

    `offset` is where the first buffer of `tensors` lies.
    """

    offset: int = 0
    form: Form = Form.ROWS
    signature: str | None = None
    tensors: Sequence[Tensor] = ()
    error: tuple[str, str] | None = None


def pack(name: str, array: Array) -> tuple[Tensor, list[memoryview]]:
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
