"""A timer that is set again and again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context


class Alarm:
    """Calls `ring` once at the time that was set last, for which it is `pending`.

    To be set on the event loop's thread; it may ring up to a millisecond early.
    """

    __slots__ = ("_ring", "_timer", "pending")

    def __init__(self, ring: Callable[[], None]) -> None:
        self.pending = False
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float, context: Context) -> None:
        """Ring after `seconds`, in place of the time set before; below zero, soon."""
        self.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._end, context=context)
        self.pending = True

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self.pending = False

    def _end(self) -> None:
        self._timer = None
        self.pending = False
        self._ring()
