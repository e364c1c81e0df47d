"""The client's side of a request: its body, and its disconnect."""

from __future__ import annotations

import io
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio
from werkzeug.exceptions import ClientDisconnected

from service.bridge.greenlets import await_, await_outside, in_bridge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from _typeshed.wsgi import WSGIEnvironment

PEEK_BYTES = 1024
MAX_PREFETCH_DIGITS = 5


class RequestReceiver:
    """The only reader of an ASGI `receive`, shared by the view and the watcher.

    It holds at most one message ahead of the view, so an unread body isn't buffered.
    """

    def __init__(
        self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    ) -> None:
        self._receive = receive
        self._chunk = b""
        self._more = True
        self._gone = False
        self._receiving = False
        # Created by the side that has to wait for the other: an event costs 3.5 µs, and
        # usually the body is read before the watcher starts.
        self._changed: anyio.Event | None = None

    @property
    def ended(self) -> bool:
        """Return whether `read()` has returned the whole body."""
        return not (self._chunk or self._more)

    async def read(self) -> bytes:
        """Return the next piece of the body, empty at its end.

        Raise `ClientDisconnected` if the client has gone before the end.
        """
        while not self._chunk and self._more and not self._gone:
            await self._receive_next()

        if not self._chunk and self._more:
            raise ClientDisconnected()

        chunk, self._chunk = self._chunk, b""
        if self._changed is not None:
            self._notify(self._changed)

        return chunk

    async def prefetch(self) -> bytes | None:
        """Receive the first message; return the body if it holds all of it."""
        if self._more and not self._chunk:
            await self._receive_next()

        if self._more:
            return None

        chunk, self._chunk = self._chunk, b""
        return chunk

    async def disconnected(self) -> None:
        """Return once the client has disconnected.

        A disconnect behind a body that the view doesn't read isn't seen.
        """
        while not self._gone:
            if self._chunk and self._more:
                await self._wait_changed()
            else:
                await self._receive_next()

    async def _receive_next(self) -> None:
        """Receive a message, or wait while the other side does."""
        if self._receiving:
            await self._wait_changed()
            return

        self._receiving = True
        try:
            self._store(await self._receive())
        finally:
            self._receiving = False
            if self._changed is not None:
                self._notify(self._changed)

    def _store(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.disconnect":
            self._gone = True
        elif self._more:
            self._chunk = message.get("body", b"")
            self._more = message.get("more_body", False)

    async def _wait_changed(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()

        await self._changed.wait()

    def _notify(self, changed: anyio.Event) -> None:
        self._changed = None
        changed.set()


def may_prefetch(environ: WSGIEnvironment) -> bool:
    """Return whether a body is short and sent without waiting for `100 Continue`."""
    length = environ.get("CONTENT_LENGTH", "")
    # Counting digits is cheap: five of them are less than 98 KiB.
    return 0 < len(length) <= MAX_PREFETCH_DIGITS and "HTTP_EXPECT" not in environ


class RequestBody(io.BufferedIOBase):
    """The `wsgi.input` that reads the body from a `RequestReceiver`.

    For the bridge's greenlet and worker threads, one reader at a time. Reading raises
    `ClientDisconnected`.
    """

    # Not a `BufferedReader`: messages are buffers, which `read1()` returns uncopied.

    def __init__(self, receiver: RequestReceiver) -> None:
        self._receiver = receiver
        self._rest = memoryview(b"")
        # `receive` may make the connection resume reading, which keeps the current
        # context: in a view's, the next request would start with its variables.
        self._outside = copy_context()

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return `size` bytes, fewer only at the end of the body, or all of them."""
        pieces = []
        left = size if size is not None and size >= 0 else None
        while left != 0 and (piece := self.read1(-1 if left is None else left)):
            pieces.append(piece)
            left = None if left is None else left - len(piece)

        return b"".join(pieces)

    def read1(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes of one piece, empty at the end of the body."""
        if not self._rest:
            piece = self._next()
            if size < 0 or len(piece) <= size:
                return piece

            self._rest = memoryview(piece)

        end = size if size >= 0 else len(self._rest)
        taken, self._rest = self._rest[:end], self._rest[end:]
        return bytes(taken)

    def peek(self, size: int = 0, /) -> bytes:
        """Return bytes that come next without consuming them, for `readline()`."""
        if not self._rest:
            self._rest = memoryview(self._next())

        return bytes(self._rest[:PEEK_BYTES])

    def _next(self) -> bytes:
        if self._receiver.ended:
            return b""

        if in_bridge():
            return await_outside(self._receiver.read(), self._outside)

        return self._outside.copy().run(await_, self._receiver.read())
