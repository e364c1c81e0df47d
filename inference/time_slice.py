"""How soon a thread that wakes runs, where another has its CPU.

Linux 6.12 and later let a thread ask for short slices, and run it at once when it wakes
in the midst of a longer slice of another's. Until then it waited up to 3 ms, whatever
its priority: several times in a request, beside a compiler or a large model.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys

SHORT_SLICE = 0.0001
"""The shortest that the kernel gives: for what waits for requests."""

LONG_SLICE = 0.003
"""For what nobody waits for: it need not be shorter than usual."""

# struct sched_attr of sched_setattr(2), in its first form: size, policy, flags, nice,
# priority, runtime, deadline, period. The slice is the runtime, in nanoseconds.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_NUMBERS = {"x86_64": 314, "aarch64": 274}


def use_time_slices(seconds: float, thread: int = 0) -> None:
    """Ask for slices of `seconds` for `thread`, by its number, and those that it will
    start; 0 for the calling one.

    Nothing happens where it can't be asked for: on older kernels, other systems, in a
    sandbox that forbids it, and for threads scheduled in another way than usual.
    """
    number = _NUMBERS.get(platform.machine())

    if sys.platform != "linux" or number is None:
        return

    with contextlib.suppress(OSError):
        if os.sched_getscheduler(thread) != os.SCHED_OTHER:
            return

        nice = os.getpriority(os.PRIO_PROCESS, thread)
        attributes = _ATTRIBUTES.pack(
            *(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0),
            *(round(seconds * 1e9), 0, 0),
        )
        ctypes.CDLL(None).syscall(number, thread, attributes, 0)
