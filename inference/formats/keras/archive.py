"""A `.keras` file's zip: the members that it may have, read within limits."""

from __future__ import annotations

import stat
import tempfile
import zipfile
import zlib
from contextlib import contextmanager
from itertools import pairwise
from typing import IO, TYPE_CHECKING

import h5py

from inference.errors import InvalidModel, first_line
from inference.formats.keras.hdf5 import Stored, screen_hdf5
from inference.formats.keras.vocabulary.names import unsafe_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"

MAX_MEMBERS = 10_000
MAX_TEXT_BYTES = 16 * 2**20
MAX_EXPANSION = 100
"""Keras stores its members uncompressed; this allows for a repacked file."""

_FLOOR = 2**20
"""Bytes below which no member counts as a zip bomb, however well compressed."""

ASSETS = "assets/"
# Flags: encrypted, strongly encrypted, headers masked.
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_BLOCK = 2**20


@contextmanager
def opened_archive(path: Path, memory_bytes: int | None) -> Iterator[zipfile.ZipFile]:
    """Yield the `.keras` zip at `path`, its table of contents screened.

    Raise `InvalidModel` for members that Keras never writes or that could do harm and,
    also while the block runs, for a damaged zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _screen_members(archive.infolist(), path, memory_bytes)
            yield archive
    except (
        # zipfile raises any of these for a damaged file.
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        OSError,
        EOFError,
        RuntimeError,
        UnicodeDecodeError,
    ) as exc:
        raise InvalidModel(
            f"{path.name} is damaged: {first_line(exc)}. Copy or save it again."
        ) from exc


def read_text(archive: zipfile.ZipFile, member: str, name: str) -> bytes:
    """Return a JSON member's bytes. Raise `InvalidModel` if it is missing."""
    try:
        with archive.open(member) as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except KeyError as exc:
        raise InvalidModel(
            f"{name} is a zip file but not a Keras model: it has no {METADATA} or "
            f"{CONFIG}. Save the model with model.save('name.keras')."
        ) from exc

    if len(data) > MAX_TEXT_BYTES:
        raise InvalidModel(f"{name}, {member} is larger than {MAX_TEXT_BYTES:,} bytes.")

    return data


def screen_weights(
    archive: zipfile.ZipFile, name: str, memory_bytes: int | None
) -> Stored:
    """Screen the weights' HDF5 in a temporary copy of the declared size."""
    if WEIGHTS not in archive.namelist():
        raise InvalidModel(
            f"{name} has no {WEIGHTS}: it is truncated or edited. Save it again."
        )

    with tempfile.TemporaryFile() as copy:
        _extract(archive, copy)

        with h5py.File(copy, "r") as file:
            return screen_hdf5(file, f"{name}, {WEIGHTS}", memory_bytes)


def _extract(archive: zipfile.ZipFile, copy: IO[bytes]) -> None:
    # zipfile reads no more than the screened size, and checks the CRC.
    with archive.open(WEIGHTS) as member:
        while block := member.read(_BLOCK):
            copy.write(block)

    copy.seek(0)


def _screen_members(
    members: Sequence[zipfile.ZipInfo], path: Path, memory_bytes: int | None
) -> None:
    if len(members) > MAX_MEMBERS:
        raise InvalidModel(f"{path.name} has more than {MAX_MEMBERS:,} members.")

    for member in members:
        _screen_member(member, f"{path.name}, member {member.orig_filename!r}")

    _check_overlap(members, path)
    declared = sum(member.file_size for member in members)

    if memory_bytes is not None and declared > memory_bytes:
        raise InvalidModel(
            f"{path.name} unpacks to {declared:,} bytes; a model may need "
            f"{memory_bytes:,}. Raise the memory budget to serve it."
        )


def _screen_member(member: zipfile.ZipInfo, where: str) -> None:
    # zipfile truncates a name at a NUL, and other readers don't.
    if odd := unsafe_path(member.orig_filename):
        raise InvalidModel(f"{where} {odd}, so it may be written elsewhere.")

    if not _expected(member.filename):
        raise InvalidModel(
            f"{where} doesn't belong in the zip of a Keras model, which has "
            f"{METADATA}, {CONFIG}, {WEIGHTS} and {ASSETS}. Save the model again."
        )

    kind = stat.S_IFMT(member.external_attr >> 16)

    if kind not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        raise InvalidModel(f"{where} is a link or a device, not a file.")

    if member.flag_bits & _ENCRYPTED:
        raise InvalidModel(f"{where} is encrypted. Save the model unencrypted.")

    if member.compress_type not in _COMPRESSIONS:
        raise InvalidModel(
            f"{where} is compressed by method {member.compress_type}; Keras stores "
            "or deflates. Save the model again."
        )

    _check_expansion(member, where)


def _expected(name: str) -> bool:
    return name in (CONFIG, METADATA, WEIGHTS) or name.startswith(ASSETS)


def _check_expansion(member: zipfile.ZipInfo, where: str) -> None:
    declared, stored = member.file_size, member.compress_size

    if declared > _FLOOR and declared > MAX_EXPANSION * stored:
        raise InvalidModel(
            f"{where} unpacks to {declared:,} bytes from {stored:,}, more than "
            f"{MAX_EXPANSION} times its size. Save the model again."
        )


def _check_overlap(members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Raise `InvalidModel` for members that share bytes or a name."""
    # A local header has at least 30 bytes and the name.
    # Members that share bytes make a small file unpack to a large one.
    spans = sorted(
        (member.header_offset, member.header_offset + 30 + member.compress_size)
        for member in members
    )
    limits = [start for start, _ in spans[1:]] + [path.stat().st_size]
    names = [member.filename.casefold() for member in members]

    if any(end > limit for (_, end), limit in zip(spans, limits, strict=True)):
        raise InvalidModel(f"{path.name} is a zip whose members share their bytes.")

    if len(set(names)) != len(names):
        twice = next(a for a, b in pairwise(sorted(names)) if a == b)
        raise InvalidModel(f"{path.name} has the member {twice!r} more than once.")
