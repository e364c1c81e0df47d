"""A reader of regular JSON that makes no Python object for each number. Pure.

A tensor's text is nearly all numbers. simdjson returns them as one buffer, but tells
neither their shape nor whether the nested lists are regular. So the outline of the text
(its brackets, commas and quotes) is compared with that of a tensor of the shape found.
Any other text is left to the slow path, `values.parse`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import simdjson

from service.codecs.json.numbers import (
    FlatColumn,
    FlatNumbers,
    Irregular,
    Joined,
    Text,
)
from service.codecs.json.values import BASE64_KEY

MAX_RANK = 64  # numpy's NPY_MAXDIMS
MAX_KEYS = 256
MAX_QUOTES = 256  # more, in lists, are strings, for which the slow path is as fast
LONG_ROW = 128  # bytes of an object that is worth reading without Python objects
VERY_LONG_ROW = 1024  # the same where the event loop mustn't be held
MAX_KEPT = 1024  # bytes of an outline that is cached
MAX_SHARED = 1 << 16  # bytes of a text that the shared parser takes

_CONTENT = bytes(set(range(256)) - set(b'[]{},:"'))
_SCALARS = frozenset({str, int, float, bool, type(None)})
_NUMBERS = frozenset({int, float})

_List = simdjson.Array
_Object = simdjson.Object
_shared = simdjson.Parser()


def read(body: bytes, *, lists: bool = True) -> dict[str, Any] | None:
    """Return the object that a text holds, with `FlatNumbers` for lists.

    Its values are strings, numbers, `true`, `false`, `null`, lists of numbers (nested
    or not, regular, not empty), objects of such values, lists of objects with the same
    keys, which become `Stacked`, or lists of strings at the top. Return `None` for any
    other text: not JSON, with a repeated key, with an irregular or empty list. If
    `lists` is false, numbers that need the slow path raise `Irregular` later.
    """
    outline = body.translate(None, _CONTENT)
    if _is_unsuitable(outline, len(body) // (LONG_ROW if lists else VERY_LONG_ROW)):
        return None

    document = _parse(body)
    if type(document) is not _Object:
        return None

    text = Text(body) if lists else None
    return _read_single(document, text, outline) or _read(document, text, outline)


def _is_unsuitable(outline: bytes, max_rows: int) -> bool:
    """Return whether lists hold strings or short objects: the slow path is as fast."""
    if _has_more(outline, b"{", 2 + max_rows):
        return True

    return _has_more(outline, b'"', MAX_QUOTES) and b'["' in outline


def _has_more(text: bytes, char: bytes, most: int) -> bool:
    """Return `text.count(char) > most`, at the speed of `memchr` if there are few."""
    position = -1

    for _ in range(most + 1):
        position = text.find(char, position + 1)
        if position < 0:
            return False

    return True


def _read_single(
    document: Any, text: Text | None, outline: bytes
) -> dict[str, Any] | None:
    """Read an object of one short list, as nearly all requests are, or nothing."""
    if len(document) != 1 or len(outline) > MAX_KEPT:
        return None

    (key,) = document
    if "\0" in key:
        return None

    value = document[key]
    shape = shape_of(value)
    if not 0 < outline_size(shape) <= MAX_KEPT or _single_outline(shape) != outline:
        return None

    return {key: FlatNumbers(value, shape, text, (key,))}


def _read(document: Any, text: Text | None, outline: bytes) -> dict[str, Any] | None:
    reader = _Reader(text, outline)
    try:
        result = reader.read_object(document, ())
    except Irregular:
        return None

    return result if reader.matches() else None


class Stacked(dict[str, Any]):
    """A list of objects with the same keys, as the values of all by key."""


class _Reader:
    """A walk through a document that records the outline that its text must have."""

    def __init__(self, text: Text | None, outline: bytes) -> None:
        self._text = text
        self._outline = outline
        self._left = len(outline)
        self._written: list[bytes] = []

    def matches(self) -> bool:
        return b"".join(self._written) == self._outline

    def read_object(self, item: Any, path: tuple[str, ...]) -> dict[str, Any]:
        """Read an object. Raise `Irregular`."""
        # A look-up of a key is linear; `items()` would make lists of the arrays.
        if len(item) > MAX_KEYS:
            raise Irregular

        result: dict[str, Any] = {}
        for key in item:
            # simdjson's look-up of a key stops at a NUL.
            if key in result or key == BASE64_KEY or "\0" in key:
                raise Irregular

            self._written.append(b',"":' if result else b'{"":')
            result[key] = self._read_value(item[key], (*path, key))

        self._written.append(b"}" if result else b"{}")
        return result

    def _read_value(self, value: Any, path: tuple[str, ...]) -> Any:
        kind = type(value)
        if kind is _List and len(path) == 1 and value and type(value[0]) is _Object:
            return self._read_rows(value, path)

        if kind is _List and len(path) == 1 and value and type(value[0]) is str:
            return self._read_strings(value)

        if kind is _List:
            return self._read_numbers(value, path)

        if kind is _Object and len(path) == 1:
            return self.read_object(value, path)

        if kind not in _SCALARS:
            raise Irregular

        if kind is str:
            self._written.append(b'""')

        return value

    def _read_rows(self, rows: Any, path: tuple[str, ...]) -> Stacked:
        start = len(self._written)
        first = self.read_object(rows[0], (*path, ""))
        outline = b"".join(self._written[start:])
        if (len(outline) + 1) * len(rows) > len(self._outline):
            raise Irregular

        text = b"[" + (outline + b",") * (len(rows) - 1) + outline + b"]"
        self._written[start:] = [text]
        columns = _columns(rows, list(first))
        stacked = Stacked(columns)
        for key, value in first.items():
            if type(value) is FlatNumbers:
                shape = (len(rows), *value.shape)
                lists = Joined(columns[key])
                stacked[key] = FlatColumn(lists, shape, self._text, (*path, key))

        return stacked

    def _read_strings(self, value: Any) -> list[str]:
        strings: list[str] = list(value)
        if any(type(each) is not str for each in strings):
            raise Irregular

        self._written.append(b"[" + b",".join([b'""'] * len(strings)) + b"]")
        return strings

    def _read_numbers(self, value: Any, path: tuple[str, ...]) -> FlatNumbers:
        shape = shape_of(value)
        # The shape by the first items of lists may be far larger than the text.
        self._left -= outline_size(shape)
        if self._left < 0 or not shape:
            raise Irregular

        self._written.append(outline_of(shape))
        return FlatNumbers(value, shape, self._text, path)


def _parse(body: bytes) -> Any:
    """Parse a text; return `None` if simdjson refuses it."""
    try:
        if len(body) > MAX_SHARED:
            return simdjson.Parser().parse(body)

        return _parse_shared(body)
    except (RuntimeError, TypeError, ValueError):
        return None


def _parse_shared(body: bytes) -> Any:
    global _shared
    try:
        return _shared.parse(body)
    except RuntimeError:
        # It still holds numbers of another request that aren't bound yet.
        _shared = simdjson.Parser()
        return _shared.parse(body)


def _columns(rows: Any, keys: list[str]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {key: [] for key in keys}
    for row in rows:
        if type(row) is not _Object or list(row) != keys:
            raise Irregular

        for key, column in columns.items():
            column.append(row[key])

    return columns


def shape_of(array: Any) -> tuple[int, ...]:
    """Return the lengths of the first list of each level; `()` without a number."""
    shape: list[int] = []
    item = array
    while type(item) is _List:
        size = len(item)
        if not size or len(shape) == MAX_RANK:
            return ()

        shape.append(size)
        item = item[0]

    return tuple(shape) if type(item) in _NUMBERS else ()


def outline_size(shape: tuple[int, ...]) -> int:
    """Return `len(outline_of(shape))`, without making it."""
    size = 0
    for length in reversed(shape):
        size = size * length + length + 1

    return size


def outline_of(shape: tuple[int, ...]) -> bytes:
    """Return the brackets and commas of a tensor of `shape`, all sizes above 0."""
    text = b""
    for length in reversed(shape):
        text = b"[" + (text + b",") * (length - 1) + text + b"]"

    return text


@lru_cache(maxsize=256)
def _single_outline(shape: tuple[int, ...]) -> bytes:
    return b'{"":' + outline_of(shape) + b"}"
