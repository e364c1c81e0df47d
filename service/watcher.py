"""Cancels a request whose client has gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    import anyio

    from service.inbox import Inbox

GRACE_SECONDS = 0.05


class Watcher:
    """Waits for the disconnect and cancels `scope`, from a task in `group`.

    A context manager: stops watching at its end. The task costs as much as a tenth of a
    fast request, and most requests end before it could be of use: it starts when the
    request has waited for `GRACE_SECONDS`.
    """

    def __init__(
        self, inbox: Inbox, scope: anyio.CancelScope, group: asyncio.TaskGroup
    ) -> None:
        self._inbox = inbox
        self._scope = scope
        self._group = group
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def arm(self) -> None:
        """Start watching soon. To be called in the request's task; may be repeated."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(GRACE_SECONDS, self._start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._task = self._group.create_task(self._watch())

    async def _watch(self) -> None:
        await self._inbox.disconnected()
        self._scope.cancel()
