"""Server-sent events of a job, by an ASGI application in front of Flask.

Flask answers the head, with its errors, log and request id as for any other call. The
events follow on the loop: a client that waits for hours holds no thread.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING

import anyio
import orjson

from service.codecs.jobs import job_document
from service.jobs.events import follow
from service.jobs.store import JobError
from service.server.limits import is_ending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.bridge.bridge import Message, Receive, Scope, Send
    from service.jobs.events import Event
    from service.jobs.jobs import Jobs

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]

EVENT_STREAM = "text/event-stream"
COMMENT_SECONDS = 15.0
COMMENT = b": waiting\n\n"

_URL = re.compile(r"/v1/jobs/([^/]+)/events")
_LENGTH = b"content-length"


class JobEvents:
    """Adds the events to `application`'s answer for `GET /v1/jobs/{id}/events`.

    A comment is sent every `comment_seconds` without an event, so that nothing on the
    way takes the connection for idle. Other GET requests go to `reads`, by default the
    same application.
    """

    def __init__(
        self,
        application: Application,
        jobs: Jobs,
        *,
        reads: Application | None = None,
        comment_seconds: float = COMMENT_SECONDS,
    ) -> None:
        self._application = application
        self._reads = reads or application
        self._jobs = jobs
        self._comment_seconds = comment_seconds
        # It answers no GET.
        self.shortcut = getattr(application, "shortcut", None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Nearly all requests are others, and pass with no more than this.
        if scope.get("method") != "GET" or scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        id = followed_id(scope)
        if id is None:
            await self._reads(scope, receive, send)
            return

        head = EventHead(send)
        await self._application(scope, receive, head.send)

        if head.opened:
            await self._stream(id, scope, receive, send)

    async def _stream(
        self, id: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_when_gone, receive, tasks.cancel_scope)

            try:
                await self._send_events(id, scope, send)
            except JobError:
                # It was deleted, or can't be read: that is what a new request is told.
                pass

            await send(body(b"", more=False))
            tasks.cancel_scope.cancel()

    async def _send_events(self, id: str, scope: Scope, send: Send) -> None:
        sent = anyio.current_time()

        async with aclosing(follow(self._jobs, id, last_seen(scope))) as events:
            async for event in events:
                if is_ending(scope):
                    # The client comes again, to a server that stays.
                    return

                now = anyio.current_time()

                if event is None and now - sent < self._comment_seconds:
                    continue

                text = COMMENT if event is None else encode(event, scope)
                await send(body(text, more=True))
                sent = now


class EventHead:
    """The `send` of the application that answers the head of a stream.

    If it opens one, its empty body isn't sent: events will follow.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.opened = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.opened = _opens_stream(message)

            if self.opened:
                kept = [each for each in message["headers"] if each[0] != _LENGTH]
                message = {**message, "headers": kept}
        elif self.opened:
            return

        await self._send(message)


def followed_id(scope: Scope) -> str | None:
    """Return the id of the job whose events a `GET` request asks for, if it does."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    found = _URL.fullmatch(path)
    return None if found is None else found[1]


def last_seen(scope: Scope) -> int:
    """Return the revision that a client which comes again has seen, or 0."""
    text = dict(scope["headers"]).get(b"last-event-id", b"")
    return revision(text.decode("latin-1"))


def revision(text: str) -> int:
    """Read a `Last-Event-ID`: 0 if it is none of ours."""
    known = text.isascii() and text.isdecimal() and len(text) < 16
    return int(text) if known else 0


def encode(event: Event, scope: Scope) -> bytes:
    document = job_document(event.job, scope.get("root_path", ""))
    data = orjson.dumps(document).decode()
    text = f"id: {event.job.revision}\nevent: {event.name}\ndata: {data}\n\n"
    return text.encode()


def body(content: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


def _opens_stream(message: Message) -> bool:
    if message["status"] != 200:
        return False

    kind: bytes = dict(message["headers"]).get(b"content-type", b"")
    return kind.startswith(EVENT_STREAM.encode())


async def cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

    scope.cancel()
