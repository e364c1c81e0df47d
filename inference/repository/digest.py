"""Digest of all files that a model's artifact depends on."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inference.repository.layout import (
    SAVED_MODEL_PARTS,
    SIDECAR,
    SUMS,
    WARMUP,
    is_saved_model,
    other_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Companions have their own checks; Markdown is for people.
_BESIDE = {SIDECAR, SUMS, WARMUP}
_FOR_PEOPLE = ".md"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDigest:
    """A source's content: the `sha256` of its files' names and bytes, and their size.

    `files` has each file's own SHA-256, in hexadecimal digits. `listing` is a hash of
    the names and kinds of all entries in a folder, read or not. `samples` is a hash of
    the sample inputs beside the model, if there are any.
    """

    sha256: str
    nbytes: int
    files: Mapping[Path, str]
    listing: str = ""
    samples: str = ""

    @property
    def content(self) -> tuple[str, str]:
        """The part that the artifact depends on."""
        return self.sha256, self.samples


def digest_source(path: Path) -> SourceDigest:
    """Hash a model: a file and the files that belong to it, or a folder's files.

    Of a SavedModel, only the files that a graph can name. Blocks while the files are
    read. Raises `OSError`.
    """
    whole = hashlib.sha256()
    files = {}
    nbytes = 0

    for name, file in _files(path):
        nbytes += file.stat().st_size
        files[file] = digest_file(file)
        whole.update(f"{name}\0{files[file]}\0".encode())

    return SourceDigest(
        sha256=whole.hexdigest(),
        nbytes=nbytes,
        files=files,
        listing=_listing(path) if path.is_dir() else "",
    )


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits. Raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_dir():
        for file in sorted(_below(path)):
            if file.is_file() and not _is_beside(file, path):
                yield file.relative_to(path).as_posix(), file

        return

    yield path.suffix, path
    architecture = f"{path.stem}.json"

    for file in other_files(path):
        if file.is_file():
            role = "architecture" if file.name == architecture else ""
            yield f"{role}{file.name.removeprefix(path.stem)}", file


def _below(folder: Path) -> Iterator[Path]:
    known = SAVED_MODEL_PARTS if is_saved_model(folder) else None

    # Symlinks are followed, as TensorFlow does when it reads the files.
    for base, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        if base == str(folder):
            # A Kubernetes volume has its files twice more, under other names each time.
            folders[:] = [
                name
                for name in folders
                if (name in known if known else not name.startswith("."))
            ]
            names = [name for name in names if known is None or name in known]

        yield from (Path(base, name) for name in names)


def _listing(folder: Path) -> str:
    # Links, pipes and text graphs are refused for their names, wherever they lie.
    listed = hashlib.sha256()

    for base, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        folders.sort()

        for name in sorted((*folders, *names)):
            entry = os.path.join(base, name)
            kind = stat.S_IFMT(os.lstat(entry).st_mode)
            target = os.readlink(entry) if stat.S_ISLNK(kind) else ""
            listed.update(os.fsencode(f"{entry}\0{kind}\0{target}\0"))

    return listed.hexdigest()


def _is_beside(file: Path, folder: Path) -> bool:
    if file.parent != folder:
        return False

    if file.name.startswith("."):
        return True

    return file.name in _BESIDE or file.suffix.lower() == _FOR_PEOPLE


def _raise(error: OSError) -> None:
    raise error
