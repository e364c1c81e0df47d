"""An `.npz` as rows: its arrays become the fields of one array of records.

Nothing is unpickled, and no more is unpacked at a time than a piece.
"""

from __future__ import annotations

import io
import struct
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.lib import format as npy

from service.jobs.array import ArrayWriter, failure
from service.jobs.rows import HEAD_BYTES, BadRows, LineReader, load_json, read_head
from service.jobs.store import BodyTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from service.jobs.rows import ArrayHead

PIECE_BYTES = 256 * 1024
MOST_ARRAYS = 64

LIST_BYTES = 1 << 20
"""The longest list of members: zipfile holds it, and an object for each."""

MOST_LINE_BYTES = 1 << 30
ONLY_OUTPUT = "predictions"
"""The array's name where the answer's only output has none."""

_METHODS = {ZIP_STORED, ZIP_DEFLATED}
_ENCRYPTED = 0x1


def record_pieces(
    file: IO[bytes], most_bytes: int, *, setting: str = "--max-jobs-bytes"
) -> Iterator[bytes]:
    """Yield an `.npy` of records for the `.npz` in `file`: a field an array.

    Raise `BadRows` for arrays that aren't columns of the same rows, `BodyTooLarge` for
    more than `most_bytes` unpacked, with the name of the `setting`.
    """
    with _errors(), ExitStack() as stack:
        archive = stack.enter_context(ZipFile(_Bounded(file)))
        members = archive.infolist()
        _check_members(members, most_bytes, setting)
        columns = [
            _column(stack.enter_context(archive.open(each)), each) for each in members
        ]
        _check_rows(columns)
        dtype, rows = _records(columns), columns[0].head.shape[0]
        yield _head(dtype, (rows,))
        most = max(1, PIECE_BYTES // dtype.itemsize)

        for start in range(0, rows, most):
            records = np.empty(min(most, rows - start), dtype)

            for column in columns:
                records[column.name] = column.read(len(records))

            yield records.tobytes()

        for column in columns:
            column.end()


def result_archive(lines: Callable[[], Iterator[bytes]], rows: int) -> Iterator[bytes]:
    """Yield an `.npz` of a result's lines, one array per output, in pieces.

    `lines` gives them from the beginning: they are read once for each output. Raise
    `BadRows` for lines that make no arrays.
    """
    sent = _Sent()

    with ZipFile(sent, "w") as archive:  # type: ignore[call-overload]
        for name in _outputs(lines()):
            member = ZipInfo(f"{name or ONLY_OUTPUT}.npy")
            writer = ArrayWriter(rows, field=name)

            with archive.open(member, "w", force_zip64=True) as file:
                for piece in lines():
                    # Nothing is sent before a row has shown that there is an array.
                    if content := writer.feed(piece):
                        file.write(content)
                        yield sent.take()

                file.write(writer.end())

    yield sent.take()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """An array that is read by rows. `begin` was read with its head."""

    name: str
    head: ArrayHead
    begin: io.BytesIO
    member: IO[bytes]

    def read(self, rows: int) -> np.ndarray[Any, Any]:
        nbytes = rows * self.head.row_bytes
        content = self.begin.read(nbytes)
        content += self.member.read(nbytes - len(content))

        if len(content) < nbytes:
            raise BadRows(f"the array '{self.name}' is cut short: send the whole file")

        array = np.frombuffer(content, self.head.dtype)
        return array.reshape(rows, *self.head.shape[1:])

    def end(self) -> None:
        # The checksum is compared at the end.
        if self.begin.read(1) or self.member.read(1):
            raise BadRows(f"the array '{self.name}' is longer than its head says")


def _column(member: IO[bytes], info: ZipInfo) -> _Column:
    name = info.filename.removesuffix(".npy")
    begin = io.BytesIO(member.read(HEAD_BYTES))

    try:
        head = read_head(begin.getvalue())
    except BadRows as exc:
        raise BadRows(f"'{info.filename}': {exc}") from None

    if head is None:
        raise BadRows(f"'{info.filename}' is cut short: it isn't an .npy file")

    if head.dtype.names is not None:
        raise BadRows(f"'{info.filename}' holds records: save an array for each field")

    begin.seek(head.start)
    return _Column(name=name, head=head, begin=begin, member=member)


def _check_members(members: list[ZipInfo], most_bytes: int, setting: str) -> None:
    """Raise before any is unpacked; zipfile unpacks no more than is declared."""
    if not 0 < len(members) <= MOST_ARRAYS:
        raise BadRows(
            f"the .npz has {len(members)} arrays: send 1 to {MOST_ARRAYS}, one an input"
        )

    names = [member.filename for member in members]

    for member in members:
        name = member.filename

        if not name.endswith(".npy") or name == ".npy" or names.count(name) > 1:
            raise BadRows(
                f"the .npz has {name[:80]!r}, which isn't an array with a name of its"
                " own: write it with numpy.savez(file, input=array)"
            )

        if member.compress_type not in _METHODS or member.flag_bits & _ENCRYPTED:
            raise BadRows(
                f"'{name[:80]}' is packed or locked as numpy never does: write it with"
                " numpy.savez or numpy.savez_compressed"
            )

    nbytes = sum(member.file_size for member in members)

    if nbytes > most_bytes:
        raise BodyTooLarge(
            f"The .npz has {nbytes} bytes unpacked, over {setting}"
            f" ({most_bytes}). Send fewer rows at a time."
        )


def _check_rows(columns: list[_Column]) -> None:
    first = columns[0]

    for each in columns:
        if each.head.shape[0] != first.head.shape[0]:
            raise BadRows(
                f"'{first.name}' has {first.head.shape[0]} rows and '{each.name}' has"
                f" {each.head.shape[0]}: each input needs a value for every row"
            )


def _records(columns: list[_Column]) -> np.dtype[Any]:
    return np.dtype(
        [(each.name, each.head.dtype, each.head.shape[1:]) for each in columns]
    )


def _head(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    head = io.BytesIO()

    try:
        npy.write_array_header_1_0(
            head,
            {
                "descr": npy.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": shape,
            },
        )
    except UnicodeEncodeError as exc:
        raise BadRows(
            f"the arrays' names have {exc.object[exc.start : exc.end]!r}, which no .npy"
            " can have: send lines"
        ) from None

    if len(head.getvalue()) > HEAD_BYTES:
        raise BadRows("the arrays' names are too long: send lines")

    return head.getvalue()


def _outputs(lines: Iterator[bytes]) -> list[str | None]:
    """Return the names of the outputs; `None` for an only one. Raise `BadRows`."""
    reader = LineReader(MOST_LINE_BYTES)

    for piece in lines:
        for value in map(load_json, reader.feed(piece)):
            if failure(value) is None:
                return list(value) if isinstance(value, dict) else [None]

    raise BadRows("no row has an answer, so there are no arrays: ask for lines")


@contextmanager
def _errors() -> Iterator[None]:
    """Raise `BadRows` for what zipfile raises for a file that isn't whole."""
    try:
        yield
    except BadRows:
        raise
    except (
        *(BadZipFile, EOFError, NotImplementedError, OverflowError),
        *(RuntimeError, ValueError, struct.error, zlib.error),
    ) as exc:
        raise BadRows(f"the body isn't an .npz that can be read: {exc}") from None


class _Bounded:
    """A file for zipfile, with a bound for its list of members and its places."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell = file.tell

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # From the end zipfile knows what an error means.
        if whence != io.SEEK_SET:
            return self._file.seek(offset, whence)

        try:
            return self._file.seek(offset)
        except OSError:
            raise BadZipFile(f"it declares an array at byte {offset}") from None

    def read(self, nbytes: int = -1) -> bytes:
        if nbytes > LIST_BYTES:
            raise BadZipFile("it declares a longer list of arrays than there may be")

        return self._file.read(LIST_BYTES if nbytes < 0 else nbytes)


class _Sent:
    """A buffer of what zipfile wrote and nobody took yet; it can't go back."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
