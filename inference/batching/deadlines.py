"""Deadlines of calls, the earliest first."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.batching.call import Call

SPARE = 64


class Deadlines:
    """Heap of the deadlines of calls that haven't ended. Pure; nothing waits here."""

    # Most calls end before their deadline. A discarded call empties its slot in the
    # heap, so that its arrays are freed at once; empty slots are swept when they are
    # most of the heap, which takes a microsecond a call on average.

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, list[Call]]] = []
        self._slots: dict[Call, list[Call]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, call: Call) -> bool:
        """Add a deadline; return whether it is now the earliest of all."""
        if len(self._heap) > 2 * len(self._slots) + SPARE:
            self._sweep()

        slot = self._slots[call] = [call]
        entry = (call.deadline, next(self._numbers), slot)
        heapq.heappush(self._heap, entry)
        return self._heap[0] is entry

    def discard(self, call: Call) -> None:
        """Remove a call, if it is there."""
        if call in self._slots:
            self._slots.pop(call).clear()

    def earliest(self) -> float | None:
        """Return the first deadline, or `None`; its call may have been discarded."""
        # Enough for a timer, and cheaper than the first deadline of a waiting call.
        return self._heap[0][0] if self._heap else None

    def expire(self, now: float) -> list[Call]:
        """Remove and return the calls whose deadline isn't after `now`."""
        expired: list[Call] = []

        while self._heap and self._heap[0][0] <= now:
            expired += heapq.heappop(self._heap)[2]

        for call in expired:
            del self._slots[call]

        return expired

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2]]
        heapq.heapify(self._heap)
