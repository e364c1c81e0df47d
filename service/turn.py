"""How many requests one turn of the event loop begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Turn:
    """Counts what was begun since the loop last ran its callbacks.

    Requests begin in the turn after they are read. Where more come in during one turn
    than it can begin, each turn is longer than the last, and soon nobody is answered in
    time: what is over `limit` must be refused, for much less than an answer costs.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._begun = 0

    def begin(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether one more may begin now."""
        if self._begun >= self.limit:
            return False

        if not self._begun:
            loop.call_soon(self._end)

        self._begun += 1
        return True

    def _end(self) -> None:
        self._begun = 0
