"""The CPUs that this process may use, by affinity and quota, and their kind."""

from __future__ import annotations

import contextlib
import math
import os
import platform
from typing import TYPE_CHECKING

from inference.system.cgroups import cgroup_folders, read_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.system.cgroups import ReadText


def affinity_cpus() -> int:
    """Return the number of CPUs that the scheduler may run this process on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))

    return os.cpu_count() or 1


def available_cpus(
    read: ReadText = read_text, affinity: Callable[[], int] = affinity_cpus
) -> int:
    """Return the smaller of affinity and cgroup quota, rounded up, at least 1.

    `read` returns a file's text and raises `OSError` if there is none.
    """
    quota = cgroup_cpus(read)
    if quota is None:
        return affinity()

    return max(1, min(affinity(), math.ceil(quota)))


def cgroup_cpus(read: ReadText) -> float | None:
    """Return the lowest quota from this process' cgroup up to the root, in CPUs.

    Both layouts are read: `cpu.max` (version 2) and `cpu.cfs_quota_us` (version 1).
    `None` if no cgroup limits the CPUs.
    """
    quotas = [
        quota
        for folder in cgroup_folders("cpu", read)
        for quota in (_quota_v2(folder, read), _quota_v1(folder, read))
        if quota is not None
    ]
    return min(quotas, default=None)


def cpu_name(read: ReadText = read_text) -> str:
    """Return the first CPU's model name, or the machine's architecture."""
    with contextlib.suppress(OSError):
        for line in read("/proc/cpuinfo").splitlines():
            field, _, value = line.partition(":")
            if field.strip() == "model name":
                return value.strip()

    return platform.processor() or platform.machine()


def _quota_v2(folder: str, read: ReadText) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = read(f"{folder}/cpu.max").split()
        return int(quota) / int(period)

    return None


def _quota_v1(folder: str, read: ReadText) -> float | None:
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota = int(read(f"{folder}/cpu.cfs_quota_us"))
        period = int(read(f"{folder}/cpu.cfs_period_us"))
        return quota / period if quota > 0 else None

    return None
