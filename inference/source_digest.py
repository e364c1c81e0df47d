"""A hash over all files that shape what is compiled from a model."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.layout import SIDECAR, SUMS, WARMUP

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Read for themselves, or by people.
_BESIDE = {SIDECAR, SUMS, WARMUP}
_FOR_PEOPLE = ".md"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDigest:
    """A source's content: `sha256` over names and bytes of its files, their size.

    `files` has each file's own SHA-256, in hexadecimal digits.
    """

    sha256: str
    nbytes: int
    files: Mapping[Path, str]


def digest_source(path: Path) -> SourceDigest:
    """Hash a model: a file and what may belong to it, or all files of a folder.

    Blocks for as long as reading the files takes. Raises `OSError`.
    """
    whole = hashlib.sha256()
    files = {}
    nbytes = 0

    for name, file in _files(path):
        nbytes += file.stat().st_size
        files[file] = digest_file(file)
        whole.update(f"{name}\0{files[file]}\0".encode())

    return SourceDigest(sha256=whole.hexdigest(), nbytes=nbytes, files=files)


def digest_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits. Raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_dir():
        for file in sorted(_below(path)):
            if file.is_file() and not _is_beside(file, path):
                yield file.relative_to(path).as_posix(), file

        return

    yield path.suffix, path
    beside = path.with_suffix(".json")

    if beside.is_file():
        yield "architecture.json", beside


def _below(folder: Path) -> Iterator[Path]:
    """Symlinks are followed, as TensorFlow does when it reads the files."""
    for base, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        if base == str(folder):
            # A Kubernetes volume has its files twice more, under other names each time.
            folders[:] = [name for name in folders if not name.startswith(".")]

        yield from (Path(base, name) for name in names)


def _is_beside(file: Path, folder: Path) -> bool:
    if file.parent != folder:
        return False

    if file.name.startswith("."):
        return True

    return file.name in _BESIDE or file.suffix.lower() == _FOR_PEOPLE


def _raise(error: OSError) -> None:
    raise error
