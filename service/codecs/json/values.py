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
from typing import Any

import orjson

from inference import InvalidRequest

BASE64_KEY = "b64"

_SHOWN = 100
_EXACT_DIGITS = 15
"""Most digits of an integer that any double holds exactly."""

_FEW_BITS = 25
"""Most significant bits of a value halfway between two float32, or narrower, values."""

_TOKENS = re.compile(
    rb'"(?:[^"\\]|\\.)*"|-?(?:NaN|Inf(?:inity)?)(?![A-Za-z])', re.DOTALL
)
"""Strings, and the numbers that JSON lacks and TensorFlow Serving takes."""

_TRAILING_COMMA = "trailing comma is not allowed"
_PARSE_ERRORS = {
    "unexpected character, expected a JSON value": "Invalid value.",
    "unexpected character, expected a string key": "Missing a name for object member.",
    "unexpected character, expected ':' after key": (
        "Missing a colon after a name of object member."
    ),
    "unexpected character, expected ',' or ']'": (
        "Missing a comma or ']' after an array element."
    ),
    "unexpected character, expected ',' or '}'": (
        "Missing a comma or '}' after an object member."
    ),
    "number is infinity when parsed as double": (
        "Number too big to be stored in double."
    ),
}
"""TensorFlow Serving's texts for orjson's; others are clear by themselves."""

_MAX_DIGITS = 20  # of an integer of 64 bits, with its sign
_CONTAINERS = frozenset({dict, list})
_KEY_END = re.compile(rb'"[ \t\r\n]*:')
"""The end of every key, and of some strings."""


def parse(body: bytes) -> Any:
    """Parse a JSON text in UTF-8, with or without a byte order mark.

    As TensorFlow Serving does, take the bare tokens `NaN`, `Infinity` and `Inf`, with
    a minus or without. Raise `InvalidRequest` for invalid JSON, also for trailing text.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body or body.isspace():
        place = f". at offset: {len(body)}" if body else ""
        raise InvalidRequest(
            f"JSON Parse error: The document is empty{place}: send a JSON object, for"
            ' example {"instances": [...]}'
        )

    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        if not has_tokens(body):
            raise _parse_error(body, exc) from None

    return _parse_with_tokens(body)


def has_tokens(body: bytes) -> bool:
    """Return whether a text may have numbers that aren't finite; cheap."""
    return b"NaN" in body or b"Inf" in body


def _parse_with_tokens(body: bytes) -> Any:
    try:
        # The one judge of what is JSON; with numbers of the same length in place of
        # the tokens, so that the offsets of errors are right.
        orjson.loads(_TOKENS.sub(_finite, body))
    except orjson.JSONDecodeError as exc:
        raise _parse_error(body, exc) from None

    try:
        return json.loads(_spelled_out(body), parse_int=_int_or_float)
    except RecursionError:
        raise InvalidRequest("JSON Parse error: nested too deep") from None


def _finite(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token.startswith(b'"'):
        return token

    return (b"-0" if token.startswith(b"-") else b"0").ljust(len(token))


def _spelled_out(body: bytes) -> bytes:
    """Return a text with its tokens as Python's own parser has them."""
    return _TOKENS.sub(_spell, body)


def _spell(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token.startswith(b'"'):
        return token

    if token.endswith(b"NaN"):
        return b"NaN"

    return b"-Infinity" if token.startswith(b"-") else b"Infinity"


def _int_or_float(text: str) -> int | float:
    """Return the number that orjson makes of an integer's text."""
    number = int(text) if len(text) <= _MAX_DIGITS else float(text)
    return number if -(2**63) <= number < 2**64 else float(number)


def parse_beside(body: bytes) -> Any:
    """Parse a text that `parse` takes, for narrowing its numbers with one rounding.

    A number of few bits whose text differs from it is moved to the double beside it,
    towards the text: a double that lies halfway between two narrower values moves to
    the right side. Other numbers are as `parse` has them.
    """
    text = _spelled_out(body) if has_tokens(body) else body
    try:
        return json.loads(text, parse_float=_beside, parse_int=_beside)
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


def _parse_error(body: bytes, error: orjson.JSONDecodeError) -> InvalidRequest:
    # orjson counts characters, TensorFlow Serving bytes.
    text, offset = error.msg, len(error.doc[: error.pos].encode())
    if text == _TRAILING_COMMA:
        in_object = body[offset + 1 :].lstrip().startswith(b"}")
        start = "Missing a name for object member" if in_object else "Invalid value"
        text = f"{start}, {text}"

    shown = _PARSE_ERRORS.get(text, text)
    return InvalidRequest(f"JSON Parse error: {shown} at offset: {offset}")


def refuse_duplicates(body: bytes, document: Any) -> None:
    """Raise `InvalidRequest` if an object of `body` repeats a key.

    `document` is what `parse` returned for `body`.
    """
    # orjson silently keeps the last of two equal keys. Counting is cheap; only a text
    # that seems to have more keys, if only because a string in it looks like one, is
    # parsed again, by a parser that reports duplicates.
    if sum(1 for _ in _KEY_END.finditer(body)) == _count_keys(document):
        return

    try:
        json.loads(_spelled_out(body), object_pairs_hook=_distinct)
    except RecursionError:
        raise InvalidRequest("JSON Parse error: nested too deep") from None


def _count_keys(document: Any) -> int:
    """Count the keys of all objects in `document`, at any depth."""
    count = 0
    pending = [document]
    while pending:
        value = pending.pop()
        if type(value) is dict:
            count += len(value)
            value = value.values()

        if not _CONTAINERS.isdisjoint(map(type, value)):
            pending.extend(each for each in value if type(each) in _CONTAINERS)

    return count


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
