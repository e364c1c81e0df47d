"""A bound on the share of the event loop's time that refusals take."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SHARE = 0.2
"""Of the loop's time."""

BURST_SECONDS = 0.02
LONGEST_SECONDS = 0.45
"""The longest wait for a turn: a client is told late, not never."""

REFUSAL_SECONDS = 100e-6
BYTE_SECONDS = 0.5e-9
"""The cost of a refusal, and of each byte of the body that it drops."""


class RefusalPacer:
    """Lets refusals take `SHARE` of the time; those beyond wait for their turn.

    For one event loop.
    """

    # Clients that send again at once, with bodies of megabytes, would else take all of
    # the time: of 131 answers a second, 64 such clients left 49, and 256 left 13.

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._budget = BURST_SECONDS
        self._updated = 0.0
        self._waiting: deque[tuple[Callable[[], bool], float, float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many wait for their turn."""
        return len(self._waiting)

    def take(self, cost: float, now: float) -> bool:
        """Take `cost` seconds for a refusal at once; return false if it is to wait."""
        self._update(now)
        if self._waiting or self._budget < 0:
            return False

        # The length of a body is what its client claims: no debt lasts longer.
        most = LONGEST_SECONDS * self._share
        self._budget = max(-most, self._budget - cost)
        return True

    def wait(self, cost: float, refuse: Callable[[], bool]) -> None:
        """Call `refuse` once `cost` seconds may be spent, in `LONGEST_SECONDS` at most.

        It returns whether they were: its client may have gone.
        """
        loop = asyncio.get_running_loop()
        self._waiting.append((refuse, cost, loop.time() + LONGEST_SECONDS))
        self._wake_later(loop)

    def _update(self, now: float) -> None:
        earned = (now - self._updated) * self._share
        self._budget = min(BURST_SECONDS, self._budget + earned)
        self._updated = now

    def _wake_later(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None and self._waiting:
            until = min(
                self._waiting[0][2],
                self._updated - min(0.0, self._budget) / self._share,
            )
            self._timer = loop.call_at(until, self._wake, loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        self._update(now)

        while self._waiting and (self._budget >= 0 or self._waiting[0][2] <= now):
            refuse, cost, _ = self._waiting.popleft()

            if refuse():
                # Overdue ones don't take from those that come much later.
                self._budget = max(-BURST_SECONDS, self._budget - cost)

        self._wake_later(loop)


def cost_of(headers: list[tuple[bytes, bytes]]) -> float:
    """Return the seconds that the refusal of a request with these headers takes."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return REFUSAL_SECONDS + int(value) * BYTE_SECONDS

    return REFUSAL_SECONDS
