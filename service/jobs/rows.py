"""Rows of large work: lines of JSON, or the first axis of an `.npy` or `.npz`.

Pieces of any length go in, whole rows come out; nothing else is held.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import orjson
from numpy.lib import format as npy

from inference import UNNAMED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NDJSON, NPY = "application/x-ndjson", "application/x-npy"
NPZ = "application/x-npz"
ROW_TYPES = frozenset({NDJSON, NPY, NPZ})

HEAD_BYTES = 10_000
"""The longest `.npy` header, as NumPy itself bounds it."""

_NUMBERS = "biuf"
_MAGIC_BYTES = 12
_HEAD_READERS = {
    (1, 0): (2, npy.read_array_header_1_0),
    (2, 0): (4, npy.read_array_header_2_0),
}
"""By version of the format: the bytes of the head's length, and its reader."""


class BadRows(ValueError):
    """A body that isn't what its type says, or an answer without rows."""


class RowReader(Protocol):
    """Cuts a body into rows. Each method raises `BadRows`."""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the rows that end in this piece."""
        ...

    def end(self) -> list[bytes]:
        """Return the row that the body's end completes, if any."""
        ...

    def check(self, rows: Sequence[bytes], number: int) -> None:
        """Check rows; the first of them is row `number` of the body, from 1."""
        ...

    def instances(self, rows: Sequence[bytes]) -> bytes:
        """Return rows as a list of JSON."""
        ...


def row_reader(content_type: str, row_bytes: int) -> RowReader:
    """Return the reader of a type in `ROW_TYPES`, of rows of at most `row_bytes`.

    An `.npz` is read once it is an `.npy` of records: see `npz.record_pieces`.
    """
    return LineReader(row_bytes) if content_type == NDJSON else ArrayReader(row_bytes)


class LineReader:
    """Reads an instance a line; empty lines are passed over."""

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._rest: list[bytes] = []
        self._rest_bytes = 0

    def feed(self, piece: bytes) -> list[bytes]:
        first, *others = piece.split(b"\n")
        self._keep(first)

        if not others:
            return []

        lines = [self._take(), *others[:-1]]
        self._keep(others[-1])
        return [line for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        line = self._take()
        return [line] if line.strip() else []

    def check(self, rows: Sequence[bytes], number: int) -> None:
        for count, line in enumerate(rows):
            try:
                orjson.loads(line)
            except orjson.JSONDecodeError as exc:
                raise BadRows(f"row {number + count} isn't JSON: {exc}") from None

    def instances(self, rows: Sequence[bytes]) -> bytes:
        return b"[" + b",".join(rows) + b"]"

    def _keep(self, part: bytes) -> None:
        self._rest.append(part)
        self._rest_bytes += len(part)
        _check_size(self._rest_bytes, self._row_bytes)

    def _take(self) -> bytes:
        line = b"".join(self._rest)
        self._rest, self._rest_bytes = [], 0
        return line


class ArrayReader:
    """Reads an array of numbers, or of records, along its first axis."""

    def __init__(self, row_bytes: int) -> None:
        self._most_bytes = row_bytes
        self._rest = bytearray()
        self._head: ArrayHead | None = None
        self._rows = 0

    def feed(self, piece: bytes) -> list[bytes]:
        self._rest += piece
        head = self._head or self._read_head()

        if head is None:
            return []

        size, count = head.row_bytes, len(self._rest) // head.row_bytes
        whole = bytes(self._rest[: count * size])
        del self._rest[: count * size]
        self._rows += count
        return [whole[start : start + size] for start in range(0, len(whole), size)]

    def end(self) -> list[bytes]:
        head = self._head

        if head is None:
            raise BadRows("the body is cut short: it isn't an .npy file")

        if self._rest or self._rows != head.shape[0]:
            raise BadRows(
                f"the array has {head.shape[0]} rows by its head, and"
                f" {self._rows} by its length: send the whole file"
            )

        return []

    def check(self, rows: Sequence[bytes], number: int) -> None:
        """Rows of numbers need no check: their length is one."""

    def instances(self, rows: Sequence[bytes]) -> bytes:
        columns = self.columns(rows)

        if UNNAMED in columns:
            named: Any = columns[UNNAMED]
        else:
            named = [
                {name: column[row] for name, column in columns.items()}
                for row in range(len(rows))
            ]

        return orjson.dumps(named, option=orjson.OPT_SERIALIZE_NUMPY)

    def columns(self, rows: Sequence[bytes]) -> dict[str, NDArray[Any]]:
        """Return rows as arrays by input name, or one under `UNNAMED`."""
        assert self._head is not None, "rows come after the head"
        dtype = self._head.dtype
        array = np.frombuffer(b"".join(rows), dtype)

        if dtype.names is not None:
            return {name: _native(array[name]) for name in dtype.names}

        return {UNNAMED: _native(array).reshape(len(rows), *self._head.shape[1:])}

    def _read_head(self) -> ArrayHead | None:
        head = read_head(bytes(self._rest))

        if head is not None:
            _check_size(head.row_bytes, self._most_bytes)
            del self._rest[: head.start]
            self._head = head

        return head


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayHead:
    """The header of an `.npy`; its rows begin at byte `start`."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])


def read_head(begin: bytes) -> ArrayHead | None:
    """Return the head that a body begins with, `None` if more of it is needed.

    Raise `BadRows` for an array that can't be sent as rows.
    """
    if len(begin) < _MAGIC_BYTES:
        return None

    try:
        file = io.BytesIO(begin)
        width, read = _HEAD_READERS[npy.read_magic(file)]
        at = file.tell()
        start = at + width + int.from_bytes(begin[at : at + width], "little")

        if len(begin) < start <= HEAD_BYTES:
            return None

        shape, columns_first, dtype = read(file, max_header_size=HEAD_BYTES)
    except (ValueError, KeyError) as exc:
        raise BadRows(f"the body isn't an .npy that can be read: {exc}") from None

    _check_array(shape, columns_first, dtype)
    return ArrayHead(dtype=dtype, shape=shape, start=start)


def predict_body(reader: RowReader, rows: Sequence[bytes], name: str | None) -> bytes:
    """Return the body of a synchronous call for rows, of the signature `name`."""
    named = {} if name is None else {"signature_name": name}
    instances = orjson.Fragment(reader.instances(rows))
    return orjson.dumps({**named, "instances": instances})


def result_lines(answer: bytes, count: int) -> bytes:
    """Return the `count` predictions of an answer as lines. Raise `BadRows`."""
    document = load_json(answer)
    predictions = document.get("predictions") if isinstance(document, dict) else None

    if not isinstance(predictions, list) or len(predictions) != count:
        raise BadRows(
            f"the model's answer to {count} rows hasn't as many: it can't be called"
            " row by row"
        )

    return b"".join(map(_line, predictions))


def load_json(text: bytes) -> Any:
    """Decode JSON as the model's answers have it: with NaN, which is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


def error_line(text: str) -> bytes:
    """Return the line of a row that failed."""
    return _line({"error": text})


def chunk_length(rows: Sequence[bytes], most_rows: int, most_bytes: int) -> int:
    """Return how many of the first rows make a chunk: one row at least."""
    nbytes = 0

    for count, row in enumerate(rows[:most_rows]):
        nbytes += len(row)

        if count and nbytes > most_bytes:
            return count

    return min(len(rows), most_rows)


def _line(value: Any) -> bytes:
    text = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    # orjson writes NaN as null; that is rare, and looked for only where it may be.
    return json.dumps(value).encode() + b"\n" if b"null" in text else text


def _check_size(nbytes: int, most: int) -> None:
    if nbytes > most:
        raise BadRows(
            f"a row of {nbytes} bytes is over --max-body-bytes ({most}): send an"
            " instance a line, or the array's first axis as rows"
        )


def _check_array(
    shape: tuple[int, ...], columns_first: bool, dtype: np.dtype[Any]
) -> None:
    if columns_first:
        raise BadRows(
            "the array is stored by columns: save numpy.ascontiguousarray(it)"
        )

    if 0 in shape or not shape:
        raise BadRows(f"an array of shape {shape} has no rows")

    if dtype.names is None:
        _check_numbers(dtype)
        return

    if len(shape) != 1:
        raise BadRows(f"an array of records has one dimension, and this {len(shape)}")

    for name in dtype.names:
        field = dtype[name]

        if 0 in field.shape:
            raise BadRows(f"the field '{name}' of shape {field.shape} has no numbers")

        _check_numbers(field.base)


def _check_numbers(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in _NUMBERS or dtype.itemsize > 8:
        raise BadRows(f"an array of {dtype} can't be sent: send numbers, or lines")


def _native(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an array as orjson takes it: in this machine's order, and in a row."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("="))
