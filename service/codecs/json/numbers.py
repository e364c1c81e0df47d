"""Numbers that simdjson has parsed, converted to arrays without Python objects.

The arrays equal those made of lists bit by bit: integers never pass through double,
floats are narrowed from double unless their text decides, and whatever is uncertain is
left to the lists.
"""

from __future__ import annotations

from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any

import numpy as np

from inference import depends_on_text, narrow
from service.codecs.json.values import parse

if TYPE_CHECKING:
    from inference import Array

_DOUBLE = np.dtype("f8")


class Irregular(Exception):
    """A text isn't as regular as `read` requires."""


class FlatNumbers:
    """`inference.Numbers` over a list of a parsed text, for one use on one thread."""

    __slots__ = ("_array", "_path", "_text", "shape")

    def __init__(
        self,
        array: Any,
        shape: tuple[int, ...],
        text: Text | None,
        path: tuple[str, ...],
    ) -> None:
        self._array = array
        self.shape = shape
        self._text = text
        self._path = path

    def array(self, dtype: np.dtype[Any]) -> Array | None:
        """Return the numbers as `dtype`, or `None` if that takes `lists`."""
        # Without this reference the parser is free for other requests.
        array, self._array = self._array, None
        try:
            return None if array is None else _convert(array, self.shape, dtype)
        except (RuntimeError, TypeError, ValueError):
            return None

    def lists(self) -> Any:
        """Return nested Python lists. Raise `Irregular` if `read` had no `lists`."""
        if self._text is None:
            raise Irregular

        return reduce(getitem, self._path, self._text.value())


class FlatColumn(FlatNumbers):
    """The numbers under one key of a list of objects; the key ends the path."""

    __slots__ = ()

    def lists(self) -> Any:
        if self._text is None:
            raise Irregular

        *path, key = self._path
        return [row[key] for row in reduce(getitem, path, self._text.value())]


class Joined:
    """The lists of several rows, joined to one buffer."""

    __slots__ = ("_lists",)

    def __init__(self, lists: list[Any]) -> None:
        self._lists = lists

    def as_buffer(self, *, of_type: str) -> Any:
        # Not `bytes`: arrays must be writable.
        return bytearray().join(item.as_buffer(of_type=of_type) for item in self._lists)


class Text:
    """A JSON text that is parsed to Python objects on demand, at most once."""

    __slots__ = ("_body", "_value")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._value: Any = None

    def value(self) -> Any:
        if self._value is None:
            self._value = parse(self._body)

        return self._value


def _convert(array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
    kind = dtype.kind
    if kind == "f" or dtype.name == "bfloat16":
        return _floats(array, shape, dtype)

    return _integers(array, shape, dtype) if kind in "iu" else None


def _floats(array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
    # An outline can't tell `[]` from `[1]`: the buffer is then too small for `shape`,
    # which raises TypeError.
    numbers: Array = np.ndarray(shape, _DOUBLE, array.as_buffer(of_type="d"))
    narrowed = narrow(numbers, dtype)
    return None if depends_on_text(numbers, narrowed) else narrowed


def _integers(array: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
    code = "i" if dtype.kind == "i" else "u"
    numbers: Array = np.ndarray(shape, f"{code}8", array.as_buffer(of_type=code))
    if dtype.itemsize == 8:
        return numbers

    limits = np.iinfo(dtype)
    if numbers.max() > limits.max or numbers.min() < limits.min:
        return None

    return numbers.astype(dtype)
