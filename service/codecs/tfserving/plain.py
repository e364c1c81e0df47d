"""Short bodies of plain rows, decoded and answered for one signature known ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import simdjson

from inference import depends_on_text, narrow, numpy_dtype
from service.codecs.json.arrays import PIECE_COST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from inference import Array, Signature, TensorSpec

_NUMBERS = b"0123456789+-.eE \t\r\n"
_LISTS = b"[],"
_OUTLINE = b'{"instances":}'.translate(None, _NUMBERS)
"""All that is left of a body of rows without its numbers and lists: no string."""

MAX_OUTLINES = 32
MAX_OUTLINE = 8192
"""Bytes. What clients can make a codec remember is 256 KiB."""

_parser = simdjson.Parser()

_DOUBLE = np.dtype("f8")
_NATIVE = frozenset("bBhHiIlLqQfd")
"""Dtypes, by NumPy's letters, that orjson writes as JSON has them."""


class PlainRows:
    """The codec of bodies such as `{"instances": [[1.5, 2.0]]}` for one signature.

    For a signature with one required input of numbers, in rows of a known rank.
    """

    # It returns `None` for whatever it isn't sure of: another codec then has the body,
    # and the words for what is wrong with it.

    __slots__ = ("_bounds", "_dtype", "_name", "_row", "_shapes", "signature")

    def __init__(self, signature: Signature, spec: TensorSpec, dtype: np.dtype[Any]):
        self.signature = signature
        self._name = spec.name
        self._dtype = dtype
        self._row = (spec.shape or ())[1:]
        self._bounds = (
            (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
            if dtype.kind in "iu"
            else None
        )
        # By the outline of a body: its text without numbers and blanks.
        self._shapes: dict[bytes, tuple[int, ...]] = {}

    @classmethod
    def of(cls, signature: Signature) -> Self | None:
        """Return the codec of `signature`, or `None` if it isn't of the simple kind."""
        [*names] = signature.required
        if len(names) != 1 or signature.seed is not None or signature.takes_parts:
            return None

        spec = signature.inputs[names[0]]
        if signature.gives_parts or not spec.shape or spec.dtype in ("string", "bool"):
            return None

        dtype = numpy_dtype(spec.dtype)
        if dtype.kind not in "iuf" or spec.shape[0] is not None:
            return None

        return cls(signature, spec, dtype)

    def decode(self, body: bytes) -> dict[str, Array] | None:
        """Return the input by name, as `bind` would, or `None`."""
        outline = body.translate(None, _NUMBERS)
        shape = self._shapes.get(outline)
        if shape is None:
            array = self._decode_lists(body, outline)
        else:
            array = self._decode_doubles(body, shape)

        return None if array is None else {self._name: array}

    def _decode_doubles(self, body: bytes, shape: tuple[int, ...]) -> Array | None:
        """Decode a body whose outline is known to be regular."""
        # Without an object for each number: half the time, for long rows a quarter.
        try:
            document: Any = _parser.parse(body)
            buffer = document["instances"].as_buffer(of_type="d")
            del document
            # Too short for `shape` if a list of the same outline is empty.
            doubles = np.ndarray(shape, _DOUBLE, buffer)
        except (KeyError, RuntimeError, TypeError, ValueError):
            return None

        return self._narrow(doubles)

    def _decode_lists(self, body: bytes, outline: bytes) -> Array | None:
        if outline.translate(None, _LISTS) != _OUTLINE:
            return None

        try:
            numbers = np.array(orjson.loads(body)["instances"])
        except (KeyError, ValueError):
            # Not JSON, irregular lists, or a key with blanks or digits in it.
            return None

        # A number without brackets has no rows.
        if not numbers.size or not numbers.ndim or not self._fits(numbers.shape[1:]):
            return None

        # Integers never pass through double.
        if self._bounds is not None:
            return self._whole(numbers, *self._bounds)

        if numbers.dtype.kind not in "iuf":
            return None

        self._remember(outline, numbers.shape)
        return self._narrow(numbers.astype(_DOUBLE, copy=False))

    def _remember(self, outline: bytes, shape: tuple[int, ...]) -> None:
        if len(outline) > MAX_OUTLINE:
            return

        if len(self._shapes) >= MAX_OUTLINES:
            self._shapes.clear()

        self._shapes[outline] = shape

    def _fits(self, row: tuple[int, ...]) -> bool:
        if row == self._row:
            return True

        return len(row) == len(self._row) and all(
            wanted in (None, size) for wanted, size in zip(self._row, row, strict=True)
        )

    def _narrow(self, doubles: Array) -> Array | None:
        array = narrow(doubles, self._dtype)
        return None if depends_on_text(doubles, array) else array

    def _whole(self, numbers: Array, least: int, most: int) -> Array | None:
        if numbers.dtype.kind not in "iu":
            return None

        if numbers.dtype == self._dtype:
            return numbers

        if numbers.min() < least or numbers.max() > most:
            return None

        return numbers.astype(self._dtype)


def encode_plain(outputs: Mapping[str, Array]) -> bytes | None:
    """Encode the answer to rows, if it is short and of numbers that JSON has."""
    if len(outputs) != 1:
        return None

    [array] = outputs.values()
    if array.dtype.char not in _NATIVE or not array.ndim or array.size > PIECE_COST:
        return None

    text = orjson.dumps({"predictions": array}, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for what isn't finite.
    return None if b"null" in text else text
