"""Files that predictions are written to, row by row: lines of JSON, or an array."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.lib import format as npy

from service.codecs.tfserving.request import ROWS
from service.codecs.tfserving.response import encode
from service.jobs.rows import BadRows, error_line, result_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from inference import Output

_PLAIN = "biuf"


class Sink(Protocol):
    """Takes the answers to rows, in order; one thread calls all but `encoded`."""

    def encoded(self, outputs: Mapping[str, Output], count: int) -> Any:
        """Return the answers to `count` rows as `write` takes them.

        Any thread may call it. Raise `BadRows` for outputs without a row for each.
        """
        ...

    def write(self, encoded: Any) -> None: ...

    def fail(self, text: str) -> None:
        """Write the place of a row that failed. Raise `BadRows` if there is none."""
        ...

    def end(self) -> None:
        """Complete the file."""
        ...


class LineSink:
    """A line of JSON for each row, as the server answers it."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write

    def encoded(self, outputs: Mapping[str, Output], count: int) -> bytes:
        return result_lines(encode(outputs, ROWS), count)

    def write(self, encoded: bytes) -> None:
        self._write(encoded)

    def fail(self, text: str) -> None:
        self._write(error_line(text))

    def end(self) -> None:
        """Lines are complete as they are."""


class ArraySink:
    """An `.npy` array of the model's only output, in its own dtype.

    A row that failed is all NaN. The number of rows is filled in at the end: `file` is
    seekable, and is at its end; what it holds is gone on with. `early` rows have failed
    before any other.
    """

    def __init__(self, file: BinaryIO, early: int = 0) -> None:
        self._file = file
        self._row: NDArray[Any] | None = None
        self._rows = self.early = early

        if file.tell():
            self._resume()

    def encoded(self, outputs: Mapping[str, Output], count: int) -> NDArray[Any]:
        if len(outputs) != 1:
            raise BadRows(
                f"the model has several outputs ({', '.join(outputs)}), which make no"
                " array: name a file of lines, as out.ndjson"
            )

        ((name, array),) = outputs.items()

        if not isinstance(array, np.ndarray) or array.dtype.kind not in _PLAIN:
            raise BadRows(
                f"the output '{name}' is no array of plain numbers: name a file of"
                " lines, as out.ndjson"
            )

        if not array.ndim or len(array) != count:
            raise BadRows(
                f"the model's answer to {count} rows hasn't as many: it can't be called"
                " row by row"
            )

        return np.ascontiguousarray(array)

    def write(self, encoded: NDArray[Any]) -> None:
        row = self._row if self._row is not None else self._begin(encoded)

        if encoded.shape[1:] != row.shape or encoded.dtype != row.dtype:
            raise BadRows(
                f"the answers from row {self._rows + 1} on are of another shape than"
                " the first, so they make no array: name a file of lines"
            )

        self._file.write(encoded.data)
        self._rows += len(encoded)

    def fail(self, text: str) -> None:
        if self._row is None:
            self.early += 1
        else:
            self._file.write(self._missing(self._row).tobytes())

        self._rows += 1

    def end(self) -> None:
        if self._row is None:
            raise BadRows("no row has numbers: there is no array")

        self._file.seek(0)
        self._file.write(_head(self._row, self._rows))

    def _begin(self, encoded: NDArray[Any]) -> NDArray[Any]:
        self._row = row = np.zeros(encoded.shape[1:], encoded.dtype)
        self._file.write(_head(row, 0))

        for _ in range(self.early):
            self._file.write(self._missing(row).tobytes())

        return row

    def _resume(self) -> None:
        end = self._file.tell()
        self._file.seek(0)
        npy.read_magic(self._file)
        shape, _, dtype = npy.read_array_header_1_0(self._file)
        self._row = row = np.zeros(shape[1:], dtype)
        self._rows = (end - self._file.tell()) // max(1, row.nbytes)
        self._file.seek(end)

    def _missing(self, row: NDArray[Any]) -> NDArray[Any]:
        if row.dtype.kind != "f":
            raise BadRows(
                "a row failed, and an array of whole numbers has no place for that:"
                " name a file of lines"
            )

        return np.full(row.shape, np.nan, row.dtype)


def _head(row: NDArray[Any], rows: int) -> bytes:
    # NumPy leaves room for the first axis to grow: each head is as long.
    head = io.BytesIO()
    npy.write_array_header_1_0(
        head,
        {
            "descr": npy.dtype_to_descr(row.dtype),
            "fortran_order": False,
            "shape": (rows, *row.shape),
        },
    )
    return head.getvalue()
