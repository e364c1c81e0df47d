"""Wakes an event loop at an instant, to some microseconds (Linux only).

A loop's own timers count whole milliseconds: many requests of an open loop would
start in one burst at each. Spinning instead would take the CPU from the responses.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Alarm:
    """Calls `ring` on the loop's thread; instants are those of `time.perf_counter`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._ring = ring
        self._libc = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, flags)
        self._setting = _Setting()
        loop.add_reader(self._file, self._wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def set(self, instant: float) -> None:
        """Ring once at `instant`, or at once if that is over, and at no earlier one."""
        value = self._setting.value
        value.seconds = int(instant)
        # All zeros would disarm the timer.
        value.nanoseconds = max(int(instant % 1 * 1e9), 1)
        self._libc.timerfd_settime(
            self._file, _ABSOLUTE, ctypes.byref(self._setting), None
        )

    def _wake(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return

        self._ring()
