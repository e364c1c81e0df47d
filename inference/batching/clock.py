"""The time by which calls arrive and expire."""

from __future__ import annotations

import asyncio


def now() -> float:
    """Return the event loop's time, in seconds: that of anyio's clock.

    Also in callbacks of the loop that belong to no task, where `anyio.current_time`
    doesn't know its loop if sniffio is installed.
    """
    return asyncio.get_running_loop().time()
