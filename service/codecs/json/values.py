"""JSON text parsed to Python values. Pure."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import math
import re
import reprlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from inference import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE64_KEY = "b64"

_SHOWN = 100
_EXACT_DIGITS = 15
"""Most digits of an integer that any double holds exactly."""

_FEW_BITS = 25
"""Most significant bits of a value halfway between two float32, or narrower, values."""

_NOT_A_NUMBER = re.compile(rb"NaN|Inf")


def parse(body: bytes) -> Any:
    """Parse a JSON text in UTF-8, with or without a byte order mark.

    Raise `InvalidRequest` for invalid JSON, including `NaN` and trailing text.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body or body.isspace():
        raise InvalidRequest(
            "JSON Parse error: The document is empty: send a JSON object, for example"
            ' {"instances": [...]}'
        )

    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(_parse_error(body, exc.msg, exc.pos)) from None


def parse_beside(body: bytes) -> Any:
    """Parse a text that `parse` takes, for narrowing its numbers with one rounding.

    A number of few bits whose text differs from it is moved to the double beside it,
    towards the text: a double that lies halfway between two narrower values moves to
    the right side. Other numbers are as `parse` has them.
    """
    try:
        return json.loads(body, parse_float=_beside, parse_int=_beside)
    except RecursionError:
        raise InvalidRequest("JSON Parse error: nested too deep") from None


def _beside(text: str) -> float | int:
    if len(text) <= _EXACT_DIGITS and text.lstrip("-").isdecimal():
        return int(text)

    number = float(text)
    exact = Decimal(text)
    # Comparisons of decimals and doubles are exact.
    if math.frexp(number)[0] * 2**_FEW_BITS % 1 or exact == number:
        return number

    return math.nextafter(number, math.inf if exact > number else -math.inf)


def _parse_error(body: bytes, text: str, position: int) -> str:
    if text == "unexpected character, expected a JSON value":
        text = "Invalid value."

    found = _NOT_A_NUMBER.search(body[max(0, position - 1) : position + 9])
    hint = ": NaN and Infinity are not JSON and can't be sent" if found else ""
    return f"JSON Parse error: {text} at offset: {position}{hint}"


def refuse_duplicates(body: bytes, expected: Mapping[str, int]) -> None:
    """Raise `InvalidRequest` if an object repeats a key of `expected`.

    `expected` has the number of times that each key may occur in the text.
    """
    # orjson silently keeps the last of two equal keys. Counting is cheap; only texts
    # with too many occurrences are parsed again, by a parser that reports duplicates.
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
    """Return `value` with each `{"b64": "..."}` in it replaced by its bytes.

    Raise `InvalidRequest` for text that isn't base64 in the standard alphabet.
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
    """Return a value as text for a message, truncated when long."""
    try:
        text = orjson.dumps(value, default=repr).decode()
    except orjson.JSONEncodeError:  # nested deeper than orjson allows
        text = reprlib.repr(value)

    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
