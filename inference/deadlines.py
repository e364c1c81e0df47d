"""When calls have to end: the earliest first."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.calls import Call

SPARE = 64


class Deadlines:
    """The deadlines of calls that haven't ended. Pure; nothing waits here.

    Calls that end before their time are the rule: they stay in the heap, and are swept
    when they are most of it, so that an addition costs a microsecond on the average.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Call]] = []
        self._numbers = itertools.count()
        self._sweep_at = SPARE

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, call: Call) -> bool:
        """Returns whether this deadline is now the earliest of all."""
        if len(self._heap) >= self._sweep_at:
            self._sweep()

        entry = (call.deadline, next(self._numbers), call)
        heapq.heappush(self._heap, entry)
        return self._heap[0] is entry

    def earliest(self) -> float | None:
        """The first deadline of a call that may not have ended; `None` for none."""
        return self._heap[0][0] if self._heap else None

    def expire(self, now: float) -> list[Call]:
        """The calls whose deadline is not after `now` and that haven't ended."""
        expired: list[Call] = []

        while self._heap and self._heap[0][0] <= now:
            call = heapq.heappop(self._heap)[2]

            if not (call.ended or call.gone):
                expired.append(call)

        return expired

    def _sweep(self) -> None:
        self._heap = [e for e in self._heap if not (e[2].ended or e[2].gone)]
        heapq.heapify(self._heap)
        self._sweep_at = 2 * len(self._heap) + SPARE
