"""Locks between processes, released when their process ends."""

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
    """Yield whether this process holds the lock of the file `path` in the block.

    The file is created, and removed by the process that held the lock. Raises
    `OSError`.
    """
    # The filelock library leaves its file behind: a cache would keep one per model.
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

    # Its last holder may have removed the file after it was opened here: the next
    # process would lock a new file of the same name.
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
