"""Rows of a file, read in chunks: lines of JSON, or arrays of numbers."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from inference import UNNAMED, InvalidRequest
from service.codecs.tfserving.request import decode
from service.jobs.npz import record_pieces
from service.jobs.rows import (
    HEAD_BYTES,
    BadRows,
    LineReader,
    chunk_length,
    predict_body,
    read_head,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from service.jobs.rows import ArrayHead

    Rows = Sequence[Any] | NDArray[Any]

PIECE_BYTES = 1 << 18
CHUNK_BYTES = 1 << 22
LINE_BYTES = 1 << 30


class Source(Protocol):
    """Rows to predict; `total` of them, if that is known before they are read."""

    @property
    def total(self) -> int | None: ...

    def chunks(self, skip: int, length: Callable[[], int]) -> Iterator[Rows]:
        """Yield chunks of `length()` rows at most, from the one after `skip` on.

        Raise `BadRows` for a file that isn't what its name says.
        """
        ...

    def inputs(self, rows: Any) -> Mapping[str, Any]:
        """Return rows as values by input name. Raise `InvalidRequest`."""
        ...


class Lines:
    """A file of JSON, an instance a line; `None` is standard input."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._reader = LineReader(LINE_BYTES)
        self.total = None if path is None else sum(map(len, self._pieces()))

    def chunks(self, skip: int, length: Callable[[], int]) -> Iterator[Sequence[bytes]]:
        rows: list[bytes] = []

        for lines in self._pieces():
            passed = min(skip, len(lines))
            skip -= passed
            rows += lines[passed:]

            # One row more than a chunk tells that its bytes are all there.
            while (count := chunk_length(rows, length(), CHUNK_BYTES)) < len(rows):
                yield rows[:count]
                del rows[:count]

        while rows:
            count = chunk_length(rows, length(), CHUNK_BYTES)
            yield rows[:count]
            del rows[:count]

    def inputs(self, rows: Sequence[bytes]) -> Mapping[str, Any]:
        try:
            # Each alone: joined, two broken lines may look like two rows.
            self._reader.check(rows, 1)
        except BadRows as exc:
            raise InvalidRequest(str(exc).partition(" ")[2].partition(" ")[2]) from None

        return decode(predict_body(self._reader, rows, None)).inputs

    def _pieces(self) -> Iterator[list[bytes]]:
        reader = LineReader(LINE_BYTES)

        with sys.stdin.buffer if self._path is None else self._path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield reader.feed(piece)

        yield reader.end()


class ArrayFile:
    """An `.npy` file of numbers or records along its first axis. Raise `BadRows`."""

    def __init__(self, path: Path) -> None:
        self._path = path

        with path.open("rb") as file:
            head = read_head(file.read(HEAD_BYTES))

        if head is None:
            raise BadRows("it is cut short: it isn't an .npy file")

        self._head: ArrayHead = head
        self.total = head.shape[0]
        stored = path.stat().st_size - head.start

        if stored != self.total * head.row_bytes:
            raise BadRows(
                f"the array has {self.total} rows by its head, and"
                f" {stored / head.row_bytes:g} by its length: it isn't whole"
            )

    def chunks(self, skip: int, length: Callable[[], int]) -> Iterator[NDArray[Any]]:
        head = self._head
        most = max(1, CHUNK_BYTES // head.row_bytes)

        with self._path.open("rb") as file:
            file.seek(head.start + skip * head.row_bytes)

            while skip < self.total:
                count = min(length(), most, self.total - skip)
                rows = np.fromfile(file, head.dtype, count * math.prod(head.shape[1:]))
                native = rows.astype(head.dtype.newbyteorder("="), copy=False)
                yield native.reshape(count, *head.shape[1:])
                skip += count

    def inputs(self, rows: Any) -> Mapping[str, Any]:
        names = rows.dtype.names

        if names is None:
            return {UNNAMED: rows}

        return {name: np.ascontiguousarray(rows[name]) for name in names}


class ArchiveFile(ArrayFile):
    """An `.npz` file, one array per input. Raise `BadRows`.

    Its rows lie in a temporary file of records meanwhile: those of a compressed array
    can only be read from the first on.
    """

    def __init__(self, path: Path) -> None:
        self._records = NamedTemporaryFile(suffix=".npy")

        with path.open("rb") as file:
            for piece in record_pieces(file, sys.maxsize):
                self._records.write(piece)

        self._records.flush()
        super().__init__(Path(self._records.name))
