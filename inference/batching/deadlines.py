"""Deadlines of calls, watched by one timer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.batching.call import Call


class Deadlines:
    """The earliest deadline of the calls that haven't ended. Pure; nothing waits here.

    `earliest` is a lower bound on anyio's clock, in seconds: its call may have ended.
    """

    # Nearly all calls end long before their deadline, so none is removed when it ends.
    # All that live are looked through when the earliest has passed, which is rare: new
    # calls have later deadlines than older ones, unless a client asks for less time.

    def __init__(self) -> None:
        self.earliest = math.inf

    def add(self, deadline: float) -> bool:
        """Add a deadline; return whether it is now the earliest of all."""
        if deadline >= self.earliest:
            return False

        self.earliest = deadline
        return True

    def expire(self, now: float, live: Iterable[Call]) -> list[Call]:
        """Return the calls of `live` whose deadline isn't after `now`; keep the rest.

        `live` has all calls that haven't ended. It isn't read before `earliest`.
        """
        if now < self.earliest:
            return []

        expired: list[Call] = []
        self.earliest = math.inf

        for call in live:
            if call.deadline <= now:
                expired.append(call)
            else:
                self.add(call.deadline)

        return expired
