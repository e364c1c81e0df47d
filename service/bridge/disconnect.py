"""Cancels a request whose client has gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    import anyio

    from service.bridge.receive import Inbox

GRACE_SECONDS = 0.05


class Patrol:
    """Starts the watchers that have been armed for a while and haven't ended.

    One timer for all of them, since most requests end before it is due: a timer a
    request took 4 % of a fast one. For one event loop at a time.
    """

    def __init__(self) -> None:
        self._new: list[Watcher] = []
        self._waiting: list[Watcher] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, watcher: Watcher) -> None:
        """Start `watcher` in `GRACE_SECONDS`, or as much later again."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._new, self._waiting = loop, [], []
            loop.call_later(GRACE_SECONDS, self._turn)

        self._new.append(watcher)

    def _turn(self) -> None:
        due, self._waiting, self._new = self._waiting, self._new, []
        for watcher in due:
            watcher.start()

        if self._waiting:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._turn)
        else:
            self._loop = None


class Watcher:
    """Waits for the disconnect and cancels `scope`, from a task in `group`.

    A context manager: stops watching at its end. The task costs as much as a tenth of a
    fast request, and most requests end before it could be of use: a `Patrol` starts it
    when the request has waited for a while.
    """

    def __init__(
        self,
        inbox: Inbox,
        scope: anyio.CancelScope,
        group: asyncio.TaskGroup,
        patrol: Patrol,
    ) -> None:
        self._inbox = inbox
        self._scope = scope
        self._group = group
        self._patrol = patrol
        self._armed = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    def arm(self) -> None:
        """Start watching soon. To be called in the request's task; may be repeated."""
        if not self._armed:
            self._armed = True
            self._patrol.add(self)

    def start(self) -> None:
        if not self._ended:
            self._task = self._group.create_task(self._watch())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        await self._inbox.disconnected()
        self._scope.cancel()
