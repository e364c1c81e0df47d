"""When calls have to end: the earliest first."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.batching.call import Call

SPARE = 64


class Deadlines:
    """The deadlines of calls that haven't ended. Pure; nothing waits here.

    Calls that end before their time are the rule. Each has a slot of its own in the
    heap: a discarded call leaves it empty, so that its arrays go at once, and empty
    slots are swept when they are most of the heap: a microsecond a call on the average.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, list[Call]]] = []
        self._slots: dict[Call, list[Call]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, call: Call) -> bool:
        """Returns whether this deadline is now the earliest of all."""
        if len(self._heap) > 2 * len(self._slots) + SPARE:
            self._sweep()

        slot = self._slots[call] = [call]
        entry = (call.deadline, next(self._numbers), slot)
        heapq.heappush(self._heap, entry)
        return self._heap[0] is entry

    def discard(self, call: Call) -> None:
        """Forget a call; nothing happens when it isn't there."""
        if call in self._slots:
            self._slots.pop(call).clear()

    def earliest(self) -> float | None:
        """The first deadline of a call that may have been discarded since.

        `None` for none: that is what a timer needs, and cheaper than the truth.
        """
        return self._heap[0][0] if self._heap else None

    def expire(self, now: float) -> list[Call]:
        """Forget and return the calls whose deadline is not after `now`."""
        expired: list[Call] = []

        while self._heap and self._heap[0][0] <= now:
            expired += heapq.heappop(self._heap)[2]

        for call in expired:
            del self._slots[call]

        return expired

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2]]
        heapq.heapify(self._heap)
