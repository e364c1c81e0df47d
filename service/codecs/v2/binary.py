"""Tensors of the binary data extension: little-endian, row-major. Pure.

An element of `BYTES` is four bytes with its length, then as many bytes.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from inference import InputMismatch, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference import Array

ALIGNMENT = 64
"""Bytes at whose multiples TensorFlow takes a tensor without a copy."""

_LENGTH = struct.Struct("<I")


def join_aligned(pieces: Sequence[bytes], head: int) -> memoryview:
    """Join a body so that what follows its first `head` bytes is aligned."""
    size = sum(map(len, pieces))
    buffer = np.empty(size + ALIGNMENT, np.uint8)
    start = -(buffer.ctypes.data + head) % ALIGNMENT
    joined = buffer.data[start : start + size]
    end = 0
    for piece in pieces:
        begin, end = end, end + len(piece)
        joined[begin:end] = piece

    return joined.toreadonly()


def tensor(
    name: str, dtype: str, shape: tuple[int, ...], data: memoryview | bytes
) -> Array:
    """Return a tensor's array, which shares the memory of `data` where it can.

    Raise `InputMismatch` if the bytes don't fit the shape.
    """
    if dtype == "string":
        return _strings(name, shape, bytes(data))

    kind = numpy_dtype(dtype)
    expected = math.prod(shape) * kind.itemsize
    if len(data) != expected:
        raise InputMismatch(
            f"byte size mismatch for input '{name}': its shape {list(shape)} of "
            f"{dtype} takes {expected} bytes. Expected {expected}, got {len(data)}"
        )

    flat = np.frombuffer(data, np.uint8)
    if dtype == "bool":
        _check_booleans(name, flat)

    return _aligned(flat, kind).reshape(shape)


def content(array: Array) -> bytes:
    """Return the bytes of an output, without a copy where they lie together."""
    if array.dtype == object:
        return _joined_strings(array)

    # As plain bytes: Python's buffers know no bfloat16.
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    # Sockets, zlib and `join` take a view as they take bytes.
    return cast("bytes", flat.data)


def _aligned(flat: Array, kind: np.dtype[Any]) -> Array:
    # NumPy computes on elements at odd addresses, TensorFlow needn't.
    odd = flat.ctypes.data % kind.itemsize if flat.size else 0
    return (flat.copy() if odd else flat).view(kind)


def _check_booleans(name: str, flat: Array) -> None:
    if flat.size and flat.max() > 1:
        index = int(np.argmax(flat > 1))
        raise InputMismatch(
            f"input '{name}' is BOOL, and its byte {index} is {flat[index]}: send 0 or "
            "1 for each element"
        )


def _strings(name: str, shape: tuple[int, ...], data: bytes) -> Array:
    count = math.prod(shape)
    # Each takes at least its length, so that a short body makes no long array.
    if len(data) < count * _LENGTH.size:
        raise _bad_strings(name, shape, f"only {len(data)} bytes are there")

    array = np.empty(count, object)
    position = 0
    for index in range(count):
        start = position + _LENGTH.size
        if start > len(data):
            raise _bad_strings(name, shape, f"element {index} isn't there")

        position = start + _LENGTH.unpack_from(data, position)[0]
        if position > len(data):
            raise _bad_strings(name, shape, f"element {index} goes beyond the end")

        array[index] = data[start:position]

    if position != len(data):
        raise _bad_strings(name, shape, f"{len(data) - position} bytes are left over")

    return array.reshape(shape)


def _bad_strings(name: str, shape: tuple[int, ...], why: str) -> InputMismatch:
    return InputMismatch(
        f"input '{name}' of shape {list(shape)} takes {math.prod(shape)} elements of "
        f"BYTES, each with its length as four little-endian bytes before it: {why}"
    )


def _joined_strings(array: Array) -> bytes:
    parts: list[bytes] = []
    for item in array.ravel().tolist():
        parts += (_LENGTH.pack(len(item)), item)

    return b"".join(parts)
