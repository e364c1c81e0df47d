"""Detection of changes by file attributes, without reading the files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from inference.repository.beside import named_files
from inference.repository.layout import other_files
from inference.repository.scan import LIMIT
from inference.repository.traversal import InvalidEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.repository.scan import ModelFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """A `digest` that differs whenever a file was written, renamed or swapped.

    `changed` is when a file or folder changed last, in seconds since the epoch.
    """

    digest: str
    changed: float


def take_fingerprint(files: ModelFiles, *, folder: bool) -> Fingerprint:
    """Fingerprint a model's files and their companions.

    `folder` says that the folder of the model's file is the model's own. Raises
    `InvalidEntry` for too many files, and `OSError`: `FileNotFoundError` if a file was
    removed meanwhile.
    """
    digest = hashlib.sha256()
    changed = []

    for path in _files(files):
        status = os.stat(path)
        changed.append(status.st_ctime)
        # Any overwrite changes the ctime, which can't be set by hand; renaming another
        # file to this name, or linking to another, changes the inode.
        attributes = (
            os.fsencode(path).hex(),
            status.st_size,
            status.st_mtime_ns,
            status.st_ctime_ns,
            status.st_ino,
        )
        digest.update(f"{attributes}\n".encode())

    changed += [os.stat(path).st_ctime for path in _folders(files, folder=folder)]
    return Fingerprint(digest=digest.hexdigest(), changed=max(changed))


def _files(files: ModelFiles) -> Iterator[str]:
    if files.path.is_dir():
        yield from _below(files.path)
    else:
        yield str(files.path)
        yield from (str(path) for path in other_files(files.path) if path.is_file())

    companions = (files.sidecar, files.sums, files.warmup)
    yield from (str(path) for path in companions if path is not None)

    if files.sidecar is not None:
        yield from map(str, named_files(files.sidecar))


def _below(folder: Path) -> list[str]:
    # Symlinks are followed: the scan has checked where they lead.
    walk = os.walk(folder, onerror=_raise, followlinks=True)
    found = (os.path.join(base, name) for base, _, names in walk for name in names)
    below = list(islice(found, LIMIT + 1))

    if len(below) > LIMIT:
        raise InvalidEntry(f"holds more than {LIMIT} files.")

    return sorted(below)


def _folders(files: ModelFiles, *, folder: bool) -> list[str]:
    if files.path.is_dir():
        walk = os.walk(files.path, onerror=_raise, followlinks=True)
        return [base for base, _, _ in islice(walk, LIMIT)]

    return [str(files.path.parent)] if folder else []


def _raise(error: OSError) -> None:
    raise error
