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

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inference import Array, Signature
    from service.codecs.tfserving.request import PredictCall
    from service.codecs.v2.request import InferCall

    DecodedCall = PredictCall | InferCall

REQUEST = struct.Struct("<QQ")
"""Sizes of the pickled `Task` and of the body, in bytes."""

ANSWER = struct.Struct("<Q")
"""Size of the pickled `Answer`, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A body's protocol, and the model's signatures to bind it to.

    `decode` must be known by its name, as pickle has functions. Without any signature
    a body is only decoded.
    """

    decode: Callable[[bytes], DecodedCall]
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

    `call` is what was decoded, but for its inputs: `offset` is that of the first buffer
    of their `tensors`.
    """

    offset: int = 0
    call: DecodedCall | None = None
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
