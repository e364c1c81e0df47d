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
"""Nice levels of a compiler, below the server; the second while models serve.

With 10, a busy one on the server's only CPU made the p99 of a small model 7.7 ms and
not 4.1; with 19, 5.3.
"""

_thread = threading.local()


def lower_priority() -> None:
    """Lower the calling thread, and those that it will start, by `STEPS`.

    Only the first call in a thread does something, so it may be made before every use
    of a pooled one. It can't be taken back. Where threads have no priority of their
    own, on other systems than Linux, nothing happens.
    """
    if getattr(_thread, "lowered", False):
        return

    _thread.lowered = True

    if sys.platform == "linux":
        # The process' number is its main thread's; a sandbox may forbid the change.
        with contextlib.suppress(OSError):
            level = os.getpriority(os.PRIO_PROCESS, os.getpid()) + STEPS
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), level)


def start_lowered(start: Callable[[], T]) -> T:
    """What `start` returns; the threads that it starts are of lower priority.

    The calling thread keeps its own.
    """
    with ThreadPoolExecutor(1, initializer=lower_priority) as pool:
        return pool.submit(start).result()
