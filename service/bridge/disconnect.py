"""Cancellation of requests whose client has disconnected."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import Self

    import anyio

    from service.bridge.receive import RequestReceiver

GRACE_SECONDS = 0.05


class Watcher(Protocol):
    """Something that begins to watch a client, unless its request has ended."""

    def start(self) -> None: ...


class WatchTimer:
    """A timer that starts watchers that were armed a while ago.

    For one event loop at a time.
    """

    # One for all requests: a timer for each took 4 % of a fast request, and most
    # requests end before it is due.
    def __init__(self) -> None:
        self._new: list[Watcher] = []
        self._waiting: list[Watcher] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, watcher: Watcher) -> None:
        """Start `watcher` after one to two times `GRACE_SECONDS`."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._new, self._waiting = loop, [], []
            loop.call_later(GRACE_SECONDS, self._tick)

        self._new.append(watcher)

    def _tick(self) -> None:
        due, self._waiting, self._new = self._waiting, self._new, []
        for watcher in due:
            watcher.start()

        if self._waiting:
            asyncio.get_running_loop().call_later(GRACE_SECONDS, self._tick)
        else:
            self._loop = None


class DisconnectWatcher:
    """Cancels `scope` when the client disconnects, from a task in `group`.

    A context manager that stops watching on exit. A `WatchTimer` starts the task once
    the request has waited for a while.
    """

    # The task costs up to a tenth of a fast request, and most requests end before it
    # could be of use.
    def __init__(
        self,
        receiver: RequestReceiver,
        scope: anyio.CancelScope,
        group: asyncio.TaskGroup,
        timer: WatchTimer,
    ) -> None:
        self._receiver = receiver
        self._scope = scope
        self._group = group
        self._timer = timer
        self._armed = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None

    def arm(self) -> None:
        """Start watching soon. For the request's task; calls may be repeated."""
        if not self._armed:
            self._armed = True
            self._timer.add(self)

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
        await self._receiver.disconnected()
        self._scope.cancel()
