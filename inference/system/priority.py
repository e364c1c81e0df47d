"""Lets the event loop go before the models' threads where they meet on a CPU.

On one CPU that a heavy model saturated, a light one's p99 was a quarter lower and its
p90 a fifth; the heavy one lost a tenth of its throughput at most. Lowering heavy models
further than light ones gave no more.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

STEPS = 5
"""How many nice levels below the process: a third of its weight.

Still above the compiler, and not so low that other processes would push models aside.
"""

COMPILER_STEPS = 10
BACKGROUND_STEPS = 19
"""Nice levels of a compiler, below the server; the second while models serve, also of
what measures a new one then.

With 10, a busy one on the server's only CPU made the p99 of a small model 7.7 ms and
not 4.1; with 19, 5.3.
"""

_thread = threading.local()


def lower_priority(steps: int = STEPS) -> None:
    """Put the calling thread, and those that it will start, `steps` below the process.

    Only the first call in a thread does something, so it may be made before every use
    of a pooled one. It can't be taken back, and never raises a thread. Where threads
    have no priority of their own, on other systems than Linux, nothing happens.
    """
    if getattr(_thread, "lowered", False):
        return

    _thread.lowered = True

    if sys.platform == "linux":
        # The process' number is its main thread's; a sandbox may forbid the change.
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            level = os.getpriority(os.PRIO_PROCESS, os.getpid()) + steps
            level = max(level, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, level)


def start_lowered(start: Callable[[], T], steps: int = STEPS) -> T:
    """What `start` returns; it runs, and the threads that it starts, `steps` below.

    The calling thread keeps its own priority.
    """
    with ThreadPoolExecutor(1, initializer=partial(lower_priority, steps)) as pool:
        return pool.submit(start).result()
