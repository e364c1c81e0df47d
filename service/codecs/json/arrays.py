"""Arrays encoded as JSON text, at once or in pieces. Pure."""

from __future__ import annotations

import base64
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from inference import WIDENED, InvalidRequest
from service.codecs.json.values import BASE64_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from inference import Array

# Numbers encoded by one call: half a millisecond in which no other thread runs.
PIECE_COST = 8192
STRING_COST = 64  # of a short string, in numbers

_ADDED = 2
"""NumPy's `dtype.isbuiltin` of dtypes that another package has added."""

_AS_NUMBERS = orjson.OPT_SERIALIZE_NUMPY


def text(name: str, array: Array) -> bytes:
    """Encode an output as nested JSON lists.

    Floats have the fewest digits that give the same value again. Non-finite ones are
    the bare tokens `NaN`, `Infinity`, `-Infinity` that TensorFlow Serving writes and
    strict JSON lacks. Raise `InvalidRequest` for complex and other dtypes that JSON
    can't carry.
    """
    check_dtype(name, array)
    return _text(name, array)


def pieces(name: str, array: Array) -> Iterator[bytes]:
    """Encode as `text` does, in pieces that each take a short call."""
    check_dtype(name, array)
    return _pieces(name, array)


def check_dtype(name: str, array: Array) -> None:
    """Raise `InvalidRequest` for a dtype that JSON can't carry."""
    dtype = array.dtype
    if _is_numpys(dtype) and dtype.kind in "biufOSU" or dtype.name in WIDENED:
        return

    raise InvalidRequest(
        f"Failed to write JSON value for tensor type: {array.dtype.name}"
        f" (output '{name}')"
    )


def _is_numpys(dtype: np.dtype[Any]) -> bool:
    """Tell NumPy's own dtypes from added ones: float8_e5m2 is of the kind "f" too."""
    return dtype.isbuiltin != _ADDED


def cost(array: Array) -> int:
    """Return the cost of encoding, in numbers encoded in the same time."""
    return array.size * (STRING_COST if array.dtype.kind in "OSU" else 1)


def is_small(array: Array) -> bool:
    """Return whether one call encodes it."""
    return array.size <= 1 or cost(array) <= PIECE_COST


def _pieces(name: str, array: Array) -> Iterator[bytes]:
    if is_small(array):
        yield _text(name, array)
        return

    rows = PIECE_COST * len(array) // cost(array)
    yield b"["
    yield from _groups(name, array, rows) if rows else _rows(name, array)
    yield b"]"


def _groups(name: str, array: Array, rows: int) -> Iterator[bytes]:
    for start in range(0, len(array), rows):
        if start:
            yield b","

        yield _text(name, array[start : start + rows])[1:-1]


def _rows(name: str, array: Array) -> Iterator[bytes]:
    for index in range(len(array)):
        if index:
            yield b","

        yield from _pieces(name, array[index, ...])


def fragments(name: str, array: Array) -> Iterable[orjson.Fragment]:
    """Encode each row, an index of the first dimension, for `orjson.dumps`."""
    check_dtype(name, array)
    rows = (array[index, ...] for index in range(len(array)))
    return map(orjson.Fragment, map(_text, itertools.repeat(name), rows))


def _text(name: str, array: Array) -> bytes:
    kind = array.dtype.kind
    if kind in "OSU":
        return orjson.dumps(_texts(array, as_bytes=name.endswith("_bytes")))

    if not _is_numpys(array.dtype):
        return _text(name, array.astype(WIDENED[array.dtype.name]))

    result = orjson.dumps(_plain(array), option=_AS_NUMBERS)
    if kind != "f" or b"null" not in result:
        return result

    return _with_tokens(result, array)


def _plain(array: Array) -> Any:
    """Return a value that orjson takes: an array in C order, or a scalar."""
    if not array.ndim:
        return array[()]

    return np.ascontiguousarray(array)


def _texts(array: Array, *, as_bytes: bool) -> Any:
    encode: Callable[[bytes | str], Any] = (
        _base64_object if as_bytes else _text_or_base64
    )
    result = np.empty(array.size, object)
    result[:] = [encode(item) for item in array.astype(object).ravel()]
    return result.reshape(array.shape).tolist()


def _text_or_base64(item: bytes | str) -> Any:
    if isinstance(item, str):
        return item

    try:
        return item.decode()
    except UnicodeDecodeError:
        return _base64_object(item)


def _base64_object(item: bytes | str) -> dict[str, str]:
    data = item.encode() if isinstance(item, str) else item
    return {BASE64_KEY: base64.b64encode(data).decode()}


def _with_tokens(text: bytes, array: Array) -> bytes:
    # orjson writes null for non-finite values, in order.
    flat = np.ravel(array)
    tokens = [_token(item) for item in flat[~np.isfinite(flat)].tolist()]
    parts = text.split(b"null")
    return b"".join(a + b for a, b in zip(parts, [*tokens, b""], strict=True))


def _token(value: float) -> bytes:
    if value != value:
        return b"NaN"

    return b"Infinity" if value > 0 else b"-Infinity"
