"""Server-sent events of the overview, by an ASGI application in front of Flask."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio

from service.routes.job_events import EventHead, body, cancel_when_gone
from service.server.limits import is_ending

if TYPE_CHECKING:
    from service.bridge.bridge import Receive, Scope, Send
    from service.dashboard.feed import Feed
    from service.routes.job_events import Application

URL = "/v1/overview/events"


class OverviewEvents:
    """Adds the events of `feed` to `application`'s answer for `GET` of `URL`.

    Flask answers the head. A client that listens for hours holds no thread.
    """

    def __init__(self, application: Application, feed: Feed) -> None:
        self._application = application
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"].removeprefix(scope.get("root_path", "")) != URL:
            await self._application(scope, receive, send)
            return

        head = EventHead(send)
        await self._application(scope, receive, head.send)
        if head.opened:
            await self._stream(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_when_gone, receive, tasks.cancel_scope)
            async with aclosing(self._feed.follow()) as events:
                async for event in events:
                    if is_ending(scope):
                        # The client comes again, to a server that stays.
                        break

                    await send(body(event, more=True))

            await send(body(b"", more=False))
            tasks.cancel_scope.cancel()
