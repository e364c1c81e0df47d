"""JSON text to Python values, and arrays to JSON text. Pure."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from inference import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from inference import Array

BASE64_KEY = "b64"

# What JSON has no number for is sent as the nearest type that holds every value.
_WIDER: Mapping[str, str] = {
    "bfloat16": "float32",
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

_SHOWN = 100
_NOT_A_NUMBER = re.compile(rb"NaN|Inf")


def parse(body: bytes) -> Any:
    """The value of a JSON text in UTF-8, with or without a byte order mark.

    Raises `InvalidRequest` for what isn't JSON: `NaN` and trailing text included.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body.strip():
        raise InvalidRequest(
            "JSON Parse error: The document is empty: send a JSON object, for example"
            ' {"instances": [...]}'
        )

    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(_parse_error(body, exc.msg, exc.pos)) from None


def _parse_error(body: bytes, text: str, position: int) -> str:
    if text == "unexpected character, expected a JSON value":
        text = "Invalid value."

    found = _NOT_A_NUMBER.search(body[max(0, position - 1) : position + 9])
    hint = ": NaN and Infinity are not JSON and can't be sent" if found else ""
    return f"JSON Parse error: {text} at offset: {position}{hint}"


def refuse_duplicates(body: bytes, expected: Mapping[str, int]) -> None:
    """Raises `InvalidRequest` if an object has a key of `expected` twice.

    The parser keeps the last of two equal keys without a word. So each key's
    occurrences in the text are counted, and only where they are more than
    `expected` says is the text parsed again, by a parser that tells.
    """
    if all(body.count(b'"%b"' % key.encode()) <= n for key, n in expected.items()):
        return

    try:
        json.loads(body, object_pairs_hook=_distinct)
    except RecursionError:
        raise InvalidRequest("JSON Parse error: nested too deep") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) == len(pairs):
        return result

    keys = [key for key, _ in pairs]
    twice = next(key for key in result if keys.count(key) > 1)
    raise InvalidRequest(
        f"key {show(twice)} is there twice in one object: send it once"
    )


def decode_base64(value: Any) -> Any:
    """`value` with each `{"b64": "..."}` in it replaced by its bytes.

    Raises `InvalidRequest` for text that isn't base64 in the standard alphabet.
    """
    try:
        return _decode_base64(value)
    except RecursionError:
        raise InvalidRequest("JSON Parse error: nested too deep") from None


def _decode_base64(value: Any) -> Any:
    if type(value) is list:
        if set(map(type, value)).isdisjoint((list, dict)):
            return value

        return [_decode_base64(item) for item in value]

    if type(value) is not dict:
        return value

    if value.keys() == {BASE64_KEY} and type(value[BASE64_KEY]) is str:
        return _bytes_of(value[BASE64_KEY])

    return {key: _decode_base64(item) for key, item in value.items()}


def _bytes_of(text: str) -> bytes:
    padding = "=" * (-len(text) % 4)
    try:
        return base64.b64decode(text + padding, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            f"Unable to base64 decode {show(text)}: use the standard alphabet, with"
            " + and /, and no line breaks"
        ) from None


def show(value: Any) -> str:
    """A value for a message, cut off when it is long."""
    try:
        text = orjson.dumps(value, default=repr).decode()
    except orjson.JSONEncodeError:  # deeper than it writes
        text = reprlib.repr(value)

    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def fragment(name: str, array: Array) -> orjson.Fragment:
    """An output as nested JSON lists, for `orjson.dumps` of what holds it.

    Floats have the fewest digits that give the same value again; not finite ones
    are the bare tokens `NaN`, `Infinity`, `-Infinity` that TensorFlow Serving
    writes and strict JSON lacks. Raises `InvalidRequest` for complex and other
    dtypes that JSON can't carry.
    """
    return orjson.Fragment(_text(_plain(name, array)))


def rows(name: str, array: Array) -> Iterable[orjson.Fragment]:
    """One `fragment` for each index of the first dimension."""
    return map(orjson.Fragment, map(_text, _plain(name, array)))


def _plain(name: str, array: Array) -> Array:
    """`array` in C order and in a dtype that JSON has values for."""
    if array.dtype.kind in "OSU":
        return _texts(array.astype(object), as_bytes=name.endswith("_bytes"))

    if array.dtype.name in _WIDER:
        array = array.astype(_WIDER[array.dtype.name])

    if array.dtype.kind not in "biuf":
        raise InvalidRequest(
            f"Failed to write JSON value for tensor type: {array.dtype.name}"
            f" (output '{name}')"
        )

    return np.ascontiguousarray(array).reshape(array.shape)


def _texts(array: Array, *, as_bytes: bool) -> Array:
    encode: Callable[[bytes | str], Any] = (
        _base64_object if as_bytes else _text_or_base64
    )
    result = np.empty(array.size, object)
    result[:] = [encode(item) for item in array.ravel()]
    return result.reshape(array.shape)


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


def _text(value: Any) -> bytes:
    """The JSON of what `_plain` gave, or of one row of it."""
    if isinstance(value, np.ndarray):
        value = value.tolist() if value.dtype == object else value[()]

    text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    if _finite(value):
        return text

    return _with_tokens(text, value)


def _finite(value: Any) -> bool:
    if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.kind != "f":
        return True

    return bool(np.isfinite(value).all())


def _with_tokens(text: bytes, array: Array | np.generic) -> bytes:
    # orjson writes null for what is not finite, in order, and numbers for the rest.
    flat = np.ravel(array)
    tokens = [_token(item) for item in flat[~np.isfinite(flat)].tolist()]
    parts = text.split(b"null")
    return b"".join(a + b for a, b in zip(parts, [*tokens, b""], strict=True))


def _token(value: float) -> bytes:
    if value != value:
        return b"NaN"

    return b"Infinity" if value > 0 else b"-Infinity"
