"""Lines of JSON made into an `.npy` array, while they are read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.lib import format as npy

from service.jobs.rows import BadRows, LineReader, load_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOST_LINE_BYTES = 1 << 30

DTYPES = {"f": "<f8", "i": "<i8", "b": "|b1"}
"""By the kind of the first row's numbers, as JSON has them."""


class ArrayWriter:
    """Makes an array of `rows` rows of lines, given in pieces of any length.

    The first row decides shape and dtype: `float64`, `int64` or `bool`. A row that
    failed is all NaN. `field` is the output to take of answers that have several. Raise
    `BadRows` for lines that make no array.
    """

    def __init__(self, rows: int, field: str | None = None) -> None:
        self._rows = rows
        self._field = field
        self._reader = LineReader(MOST_LINE_BYTES)
        self._model: NDArray[Any] | None = None
        self._written = 0
        # Rows that failed before any other: the shape isn't known yet.
        self._early = 0

    def feed(self, piece: bytes) -> bytes:
        """Return what can be written of the array."""
        return self._write(self._reader.feed(piece))

    def end(self) -> bytes:
        """Return the last of it. Raise `BadRows` if rows are missing."""
        last = self._write(self._reader.end())

        if self._written != self._rows:
            raise BadRows(
                f"{self._written} of {self._rows} rows have numbers: there is no array"
            )

        return last

    def _write(self, lines: Sequence[bytes]) -> bytes:
        rows = self._alike(lines)

        if rows is not None:
            self._written += len(rows)
            return rows.tobytes()

        parts = []

        for line in lines:
            row = self._row(load_json(line))

            if row is None and self._model is None:
                self._early += 1
            elif row is None:
                parts.append(self._missing())
            elif self._model is None:
                parts.append(self._begin(row))
            else:
                parts.append(self._content(row))

        return b"".join(parts)

    def _row(self, value: Any) -> NDArray[Any] | None:
        """Return a line's numbers, `None` for a row that failed."""
        if failure(value) is not None:
            return None

        if self._field is None:
            return _numbers(value)

        if not isinstance(value, dict) or self._field not in value:
            raise BadRows(
                f"row {self._written + 1} has no output '{self._field}', as the first"
                " has: ask for lines"
            )

        return _numbers(value[self._field])

    def _alike(self, lines: Sequence[bytes]) -> NDArray[Any] | None:
        """Return rows that are all as the first one was, as most are, else `None`.

        Together they take half of the time.
        """
        if self._model is None or not lines:
            return None

        try:
            rows = np.array(orjson.loads(b"[" + b",".join(lines) + b"]"))
        except ValueError:
            # Rows that failed, NaN, or lists of several lengths.
            return None

        alike = rows.shape == (len(lines), *self._model.shape)
        return rows if alike and rows.dtype == self._model.dtype else None

    def _begin(self, row: NDArray[Any]) -> bytes:
        if row.dtype.kind not in DTYPES:
            raise BadRows(
                "the answers are no numbers, so they make no array: ask for lines, or,"
                " where they have several outputs of numbers, for application/x-npz"
            )

        self._model = row.astype(DTYPES[row.dtype.kind])
        head = io.BytesIO()
        npy.write_array_header_1_0(
            head,
            {
                "descr": self._model.dtype.str,
                "fortran_order": False,
                "shape": (self._rows, *row.shape),
            },
        )
        missing = b"".join(self._missing() for _ in range(self._early))
        return head.getvalue() + missing + self._content(row)

    def _missing(self) -> bytes:
        assert self._model is not None, "the first row comes before"

        if self._model.dtype.kind != "f":
            raise BadRows(
                "a row failed, and an array of whole numbers has no place for that:"
                " ask for lines"
            )

        return self._content(np.full(self._model.shape, np.nan))

    def _content(self, row: NDArray[Any]) -> bytes:
        assert self._model is not None, "the first row comes before"

        if row.shape != self._model.shape or row.dtype.kind != self._model.dtype.kind:
            raise BadRows(
                f"row {self._written + 1} is of another shape or kind than the first,"
                " so they make no array: ask for lines"
            )

        self._written += 1
        return row.astype(self._model.dtype, copy=False).tobytes()


def failure(value: Any) -> str | None:
    """Return why a row failed, if the value of its line says so."""
    failed = isinstance(value, dict) and value.keys() == {"error"}
    return str(value["error"]) if failed else None


def _numbers(value: Any) -> NDArray[Any]:
    try:
        return np.array(value)
    except ValueError:
        raise BadRows("a row's lists differ in length: ask for lines") from None
