"""Thread priorities: the event loop above the models, the models above compilers.

On one CPU saturated by a heavy model, this lowered a light model's p99 by a quarter and
its p90 by a fifth; the heavy one lost at most a tenth of its throughput. Lowering heavy
models further than light ones gained nothing.
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
"""Nice levels of models' threads below the process: a third of its weight.

Above the compiler, and high enough beside other processes.
"""

COMPILER_STEPS = 10
BACKGROUND_STEPS = 19
"""Nice levels of a compiler below the server; the second while models serve, also for
measuring a new one.

On the server's only CPU, a compiler raised the p99 of a small model from 4.1 ms to
7.7 ms at level 10, and to 5.3 ms at 19.
"""

_thread = threading.local()


def lower_priority(steps: int = STEPS) -> None:
    """Lower the calling thread, and threads it starts, `steps` below the process.

    Only the first call in a thread has an effect, so a pooled thread may call it before
    each task. A thread is never raised again. Does nothing but on Linux, where threads
    have their own priority.
    """
    if getattr(_thread, "lowered", False):
        return

    _thread.lowered = True

    if sys.platform == "linux":
        # The process' id is its main thread's; a sandbox may forbid the change.
        with contextlib.suppress(OSError):
            thread = threading.get_native_id()
            level = os.getpriority(os.PRIO_PROCESS, os.getpid()) + steps
            level = max(level, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, level)


def start_lowered(start: Callable[[], T], steps: int = STEPS) -> T:
    """Run `start` in a thread `steps` below the process; return its result.

    Threads that it starts are as low; the calling thread keeps its priority.
    """
    with ThreadPoolExecutor(1, initializer=partial(lower_priority, steps)) as pool:
        return pool.submit(start).result()
