"""How the C library keeps memory that is freed."""

from __future__ import annotations

import ctypes

from inference.system.cpus import available_cpus

# <malloc.h>; the most that the first may be is 32 MiB.
_M_MMAP_THRESHOLD = -3
_M_TRIM_THRESHOLD = -1
_M_ARENA_MAX = -8
_LARGEST_BLOCK = 32 << 20
_KEPT = 128 << 20


def keep_freed_memory() -> None:
    """Reuse freed blocks of up to 32 MiB; without glibc nothing happens.

    By default each large block comes fresh from the kernel and goes back at once, and
    every page of it is a fault: a third of the time that decoding an image as JSON
    takes. At most 128 MiB are kept, and `trim_memory` still gives them back.

    Each loaded model has threads of its own, and by default up to eight heaps per CPU
    are made for them. What is left in each when a model goes can't be given back: 16
    MiB after 70 loads on two CPUs, and 8 MiB after 230 with one heap per CPU.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)

    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_ARENA_MAX, available_cpus())
