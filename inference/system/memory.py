"""The memory: how much this process may use, by machine and control group."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from inference.system.cgroups import cgroup_folders, read_text

if TYPE_CHECKING:
    from inference.system.cgroups import ReadText

KIB = 1024
# Version 2 and version 1. Where version 1 limits nothing, it says a number near 2**63.
_LIMITS = ("memory.max", "memory.limit_in_bytes")


def available_memory(read: ReadText = read_text) -> int:
    """The smaller of the machine's memory and the group's limit, in bytes.

    It says nothing of how much of that is free. `read` gives a file's text and raises
    `OSError` where there is none.
    """
    return min([_machine(read), *_limits(read)])


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
