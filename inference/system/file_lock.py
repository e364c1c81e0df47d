"""Locks between processes, which end with the process that holds them."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Whether this process has the lock in the block; no other has it meanwhile.

    `path` is made for it and removed by whoever had it. Raises `OSError`.
    """
    with open(path, "w") as file:
        if not _take(file, path):
            yield False
            return

        try:
            yield True
        finally:
            path.unlink(missing_ok=True)


def _take(file: IO[str], path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False

    # The last to have it may have removed the file after it was opened here, so that
    # the next will lock another of the same name.
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
