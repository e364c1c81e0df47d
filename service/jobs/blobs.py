"""Large bodies and results of jobs, as files beside the database."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

INLINE_BYTES = 32 * 1024
"""Up to this size a body stands in the database itself."""


class Blobs:
    """Files named by job and kind. A file is whole once it has its name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, content: bytes) -> None:
        """Write and sync a file, so that it outlives a crash. Raise `OSError`."""
        scratch = self._folder / f".{name}.{os.getpid()}"

        try:
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())

            scratch.replace(self._folder / name)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise

        self._sync_folder()

    def extend(self, name: str, start: int, piece: bytes) -> None:
        """Write a piece from byte `start` on, in place of what is there. Not synced."""
        with (self._folder / name).open("ab") as file:
            file.truncate(start)
            file.write(piece)

    def sync(self, name: str) -> None:
        """Let a file that was extended outlive a crash."""
        with (self._folder / name).open("rb") as file:
            os.fsync(file.fileno())

        self._sync_folder()

    def read_piece(self, name: str, start: int, nbytes: int) -> bytes:
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            return file.read(nbytes)

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def remove_others(self, ids: Collection[str], *, older_seconds: float) -> None:
        """Remove files of jobs that aren't in `ids`, unless they are younger."""
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                old = time.time() - path.stat().st_mtime > older_seconds
                if old and path.name.lstrip(".").partition(".")[0] not in ids:
                    path.unlink()

    def _sync_folder(self) -> None:
        # The new name is in the folder, which has a cache of its own.
        descriptor = os.open(self._folder, os.O_RDONLY)

        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
