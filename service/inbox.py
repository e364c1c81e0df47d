"""What the client sends during a request: its body, and that it has gone."""

from __future__ import annotations

import io
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio
from werkzeug.exceptions import ClientDisconnected

from service.greenlets import await_, await_outside, in_bridge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping


class Inbox:
    """The one reader of an ASGI `receive`, shared by the view and the watcher.

    Holds at most one message that nobody has asked for, so a body that is never read
    is never buffered.
    """

    def __init__(
        self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    ) -> None:
        self._receive = receive
        self._lock = anyio.Lock(fast_acquire=True)
        self._taken = anyio.Event()
        self._chunk = b""
        self._more = True
        self._gone = False

    async def read(self) -> bytes:
        """The next piece of the body, empty at its end.

        Raises `ClientDisconnected` if the client has gone before the end.
        """
        if self._starving:
            async with self._lock:
                while self._starving:
                    await self._pull()

        if not self._chunk and self._more:
            raise ClientDisconnected()

        chunk, self._chunk = self._chunk, b""
        self._taken.set()
        return chunk

    async def disconnected(self) -> None:
        """Return when the client has gone, as far as that can be seen.

        Behind a body that the view doesn't read, it can't.
        """
        while not self._gone:
            if self._chunk and self._more:
                self._taken = anyio.Event()
                await self._taken.wait()
                continue

            async with self._lock:
                if not (self._chunk and self._more) and not self._gone:
                    await self._pull()

    @property
    def _starving(self) -> bool:
        return not self._chunk and self._more and not self._gone

    async def _pull(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._gone = True
        elif self._more:
            self._chunk = message.get("body", b"")
            self._more = message.get("more_body", False)


class RequestBody(io.RawIOBase):
    """`wsgi.input`: pulls the body out of an `Inbox` as it is read.

    Readable in the bridge's greenlet and in worker threads, by one reader at a time.
    Raises `ClientDisconnected`.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._rest = memoryview(b"")
        # `receive` may make the connection resume reading, which keeps the context it
        # happens in: never a view's, or the next request would start in it.
        self._outside = copy_context()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._next())

        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def readall(self) -> bytes:
        chunks = [bytes(self._rest)]
        self._rest = memoryview(b"")
        while chunk := self._next():
            chunks.append(chunk)

        return b"".join(chunks)

    def _next(self) -> bytes:
        if in_bridge():
            return await_outside(self._inbox.read())

        return self._outside.copy().run(await_, self._inbox.read())
