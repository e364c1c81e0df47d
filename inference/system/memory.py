"""Memory: how much this process may use, and how the C library keeps it."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

from inference.system.cgroups import cgroup_folders, read_text
from inference.system.cpus import available_cpus

if TYPE_CHECKING:
    from inference.system.cgroups import ReadText

KIB = 1024
MIB = 1024**2
# Version 2 and version 1. Without a limit, version 1 gives a number near 2**63.
_LIMITS = ("memory.max", "memory.limit_in_bytes")
# <malloc.h>; the most that the first may be is 32 MiB.
_M_MMAP_THRESHOLD = -3
_M_TRIM_THRESHOLD = -1
_M_ARENA_MAX = -8
_LARGEST_BLOCK = 32 << 20
_KEPT = 128 << 20


def available_memory(read: ReadText = read_text) -> int:
    """Return the smaller of the machine's memory and the group's limit, in bytes.

    That is free or not. `read` returns a file's text and raises `OSError` if there is
    none.
    """
    return min([_machine(read), *_limits(read)])


def keep_freed_memory() -> None:
    """Reuse freed blocks of up to 32 MiB; does nothing without glibc.

    At most 128 MiB are kept, and `trim_memory` still returns them to the system.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)

    if mallopt is not None:
        # By default each large block comes fresh from the kernel, with a fault for each
        # page: a third of the time for decoding an image as JSON.
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        # By default, models' threads get up to eight heaps per CPU, whose remains can't
        # be returned: 16 MiB after 70 loads on two CPUs, with one heap per CPU 8 MiB
        # after 230.
        mallopt(_M_ARENA_MAX, available_cpus())


def show_bytes(nbytes: int) -> str:
    """Write a size for people: `512 bytes`, `64.0 KiB`, `1,536.5 MiB`."""
    if nbytes < KIB:
        return f"{nbytes} bytes"

    # Nothing larger than MiB: messages compare sizes that differ by little.
    return f"{nbytes / KIB:.1f} KiB" if nbytes < MIB else f"{nbytes / MIB:,.1f} MiB"


def _machine(read: ReadText = read_text) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in read("/proc/meminfo").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * KIB

    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _limits(read: ReadText) -> list[int]:
    limits = []

    for folder in cgroup_folders("memory", read):
        for name in _LIMITS:
            # "max" isn't a number, and no limit either.
            with contextlib.suppress(OSError, ValueError):
                limits.append(int(read(f"{folder}/{name}")))

    return [limit for limit in limits if limit > 0]
