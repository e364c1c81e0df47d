"""Functions for a child process whose memory is watched."""

from __future__ import annotations

import mmap
import os
import time


def number() -> int:
    return os.getpid()


def hold(size: int, seconds: float) -> None:
    """Keep `size` bytes in memory for a while."""
    with mmap.mmap(-1, size) as held:
        for at in range(0, size, mmap.PAGESIZE):
            held[at] = 1

        time.sleep(seconds)
