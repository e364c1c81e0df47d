"""What of the machine a compiler gets beside the models that serve."""

from __future__ import annotations

import contextlib
import os

from inference.system.cpus import affinity_cpus, available_cpus
from inference.system.priority import BACKGROUND_STEPS, COMPILER_STEPS


def compiler_threads(*, background: bool) -> int:
    """All CPUs while nobody is served; in the `background` half of them, at least one.

    A low priority isn't enough: whoever uses up a container's share of CPU time has the
    server stopped too, and a thread that wakes may wait for the kernel's next tick.
    """
    cpus = available_cpus()
    return max(1, cpus // 2) if background else cpus


def give_share(process: int, *, background: bool) -> None:
    """Lower `process`, just started, and keep it to its share of the CPUs."""
    steps = BACKGROUND_STEPS if background else COMPILER_STEPS

    # It may have ended already; a sandbox may forbid the change.
    with contextlib.suppress(OSError):
        level = os.getpriority(os.PRIO_PROCESS, 0) + steps
        os.setpriority(os.PRIO_PROCESS, process, level)

        if background:
            _keep_to_half(process)


def _keep_to_half(process: int) -> None:
    # A container's share of time is of no CPUs in particular: bound to some, it would
    # meet there with those of other containers.
    if not hasattr(os, "sched_setaffinity") or available_cpus() < affinity_cpus():
        return

    chosen = sorted(os.sched_getaffinity(0))[-compiler_threads(background=True) :]
    os.sched_setaffinity(process, chosen)
