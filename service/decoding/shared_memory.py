"""Memory that two processes share: an unnamed file, mapped by both."""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from inference import Array

ALIGNMENT = 64
GROWTH_BYTES = 1 << 20
KEPT_BYTES = 16 << 20


class SharedBuffer:
    """Bytes by offset, growing as they are written; one side uses it at a time.

    Owns `fd`, which the other process has inherited.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map: mmap.mmap | None = None

    @classmethod
    def create(cls) -> SharedBuffer:
        if hasattr(os, "memfd_create"):
            return cls(os.memfd_create("tandem-buffer"))

        with tempfile.TemporaryFile() as file:
            return cls(os.dup(file.fileno()))

    def write(self, offset: int, data: bytes | memoryview) -> None:
        end = offset + len(data)
        self._mapped(end)[offset:end] = data

    def read(self, offset: int, size: int) -> bytes:
        return self._mapped(offset + size)[offset : offset + size]

    def copy_to(self, target: Array, offset: int) -> None:
        """Fill `target`, uint8 [n], from `offset`."""
        memory = self._mapped(offset + len(target))
        target[:] = np.frombuffer(memory, np.uint8, len(target), offset)

    @property
    def is_large(self) -> bool:
        """Return whether it holds far more than usual, so that `clear` is worth it."""
        return self._map is not None and len(self._map) > KEPT_BYTES

    def clear(self) -> None:
        """Free the memory; all bytes are lost.

        Takes milliseconds, most of them without the interpreter's lock.
        """
        os.ftruncate(self.fd, 0)
        self._unmap()

    def close(self) -> None:
        self._unmap()
        os.close(self.fd)

    def _mapped(self, size: int) -> mmap.mmap:
        size = max(size, 1)
        # The other side may have truncated it; a map beyond the end can't be used.
        if os.fstat(self.fd).st_size < size:
            os.ftruncate(self.fd, aligned(size, GROWTH_BYTES))

        if self._map is None or len(self._map) < size:
            self._unmap()
            self._map = mmap.mmap(self.fd, 0)

        return self._map

    def _unmap(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None


def aligned(size: int, alignment: int = ALIGNMENT) -> int:
    """Return `size` rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment
