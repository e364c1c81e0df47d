"""An ASGI application that serves a WSGI application on the event loop."""

from __future__ import annotations

import asyncio
import io
import logging
from contextvars import copy_context
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, cast

import anyio
import anyio.to_thread
from asgiref.wsgi import WsgiToAsgi
from werkzeug.exceptions import ClientDisconnected

from service.bridge.disconnect import DisconnectWatcher, WatchTimer
from service.bridge.environ import ResponseHead, TooManyHeaders, build_environ
from service.bridge.greenlets import GreenletCall
from service.bridge.lifespan import run_lifespan
from service.bridge.receive import RequestBody, RequestReceiver, may_prefetch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
    from contextlib import AbstractAsyncContextManager
    from typing import TypeAlias

    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

    Scope: TypeAlias = MutableMapping[str, Any]
    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]

STREAM_THREADS = 40
LONG_BYTES = 1 << 18
"""Of a piece of a body: to copy it costs more than to send it on its own."""

EXHAUSTED = object()

logger = logging.getLogger("tandem.bridge")


class Bridge(WsgiToAsgi):
    """Runs a WSGI application in greenlets on the event loop's own thread.

    Each request is one greenlet in the request's own task and a copy of its context. It
    waits with `service.bridge.greenlets.await_`, without holding a thread; code between
    two waits holds the loop, so it must be short. A returned list or tuple is sent at
    once; any other iterable is pulled piece by piece in worker threads, at most
    `STREAM_THREADS` at a time. A disconnect cancels the request. `lifespan` is entered
    before the first request and exited after the last, both in one task.

    An application's `direct` dispatcher, if it has one, is asked first.
    """

    def __init__(
        self,
        wsgi_application: WSGIApplication,
        lifespan: Callable[[], AbstractAsyncContextManager[None]] | None = None,
    ) -> None:
        super().__init__(wsgi_application)  # type: ignore[no-untyped-call]
        self.lifespan = lifespan
        self.shared = SharedState()
        self._direct: Dispatcher | None = getattr(wsgi_application, "direct", None)
        self.shortcut = self._direct

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._serve_other(scope, receive, send)
            return

        direct = self._direct
        view = None if direct is None else direct.find(scope)

        if direct is not None and view is not None:
            rest = await direct.answer(view, scope, receive, send)
            if rest is None:
                return

            receive = rest

        exchange = Exchange(scope, receive, send, self.shared)
        await exchange.run(self.wsgi_application)

    async def _serve_other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(self.lifespan, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"Cannot serve an ASGI scope of type {scope['type']!r}")


class Dispatcher(Protocol):
    """The `direct` of an application, which answers some requests without WSGI."""

    def find(self, scope: Scope) -> Any:
        """Return what may answer the request, or `None`."""

    async def answer(
        self, view: Any, scope: Scope, receive: Receive, send: Send
    ) -> Receive | None:
        """Answer it, or send nothing and return the `receive` for WSGI's way."""


def grouped(chunks: Iterable[bytes]) -> list[bytes]:
    """Join short pieces of a body; long ones are sent as they are, not copied."""
    pieces, short = [], []
    for chunk in chunks:
        if len(chunk) < LONG_BYTES:
            short.append(chunk)
            continue

        pieces += [b"".join(short), chunk] if short else [chunk]
        short = []

    return [*pieces, b"".join(short)] if short or not pieces else pieces


class SharedState:
    """State shared by the requests of one bridge."""

    def __init__(self) -> None:
        self.stream_limiter = anyio.CapacityLimiter(STREAM_THREADS)
        self.watch_timer = WatchTimer()

    @cached_property
    def cancel_scope(self) -> type[anyio.CancelScope]:
        # `anyio.CancelScope()` detects the running event loop each time: 4 µs.
        return type(anyio.CancelScope())


class Exchange:
    """One request and its response."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, shared: SharedState
    ) -> None:
        self._scope = scope
        self._send = send
        self._receiver = RequestReceiver(receive)
        self._head = ResponseHead()
        self._shared = shared
        # The application always runs in this `Context`, in any thread, so that context
        # variables set while it streams can be reset when it is closed.
        self._context = copy_context()

    async def run(self, application: WSGIApplication) -> None:
        """Serve the request. Raise only to make the server drop the connection."""
        failure: Exception | None = None
        # asyncio's group: an empty one of anyio's costs a turn of the loop.
        async with asyncio.TaskGroup() as group:
            with (
                self._shared.cancel_scope() as scope,
                DisconnectWatcher(
                    self._receiver, scope, group, self._shared.watch_timer
                ) as watcher,
            ):
                failure = await self._attempt(application, watcher)

        if failure is not None:
            raise failure

    async def _attempt(
        self, application: WSGIApplication, watcher: DisconnectWatcher
    ) -> Exception | None:
        try:
            await self._respond(application, watcher)
        except TooManyHeaders:
            await self._send_error(400, b'{"error": "A header is repeated too often."}')
        except ClientDisconnected:
            pass
        except Exception as exc:
            logger.exception(
                "Error while serving %s %s", self._scope["method"], self._scope["path"]
            )
            if self._head.sent:
                return exc

            await self._send_error(500, b'{"error": "Internal server error."}')

        return None

    async def _respond(
        self, application: WSGIApplication, watcher: DisconnectWatcher
    ) -> None:
        environ = build_environ(self._scope, None)
        environ["wsgi.input"] = await self._input(environ)
        call: GreenletCall[Iterable[bytes]] = GreenletCall(
            partial(application, environ, self._head), self._context, watcher.arm
        )
        iterable = await call
        if isinstance(iterable, list | tuple):
            await self._send_sequence(iterable)
        else:
            watcher.arm()
            await self._send_stream(iterable)

    async def _input(self, environ: WSGIEnvironment) -> io.BufferedIOBase:
        """Return the input stream, with a short body already in it."""
        # Read here, most bodies cost a tenth of a request less than piece by piece
        # from within the application.
        if may_prefetch(environ):
            whole = await self._receiver.prefetch()
            if whole is not None:
                return io.BytesIO(whole)

        return RequestBody(self._receiver)

    async def _send_sequence(self, chunks: list[bytes] | tuple[bytes, ...]) -> None:
        *first, last = grouped(chunks)
        try:
            for piece in first:
                await self._send_body(piece, more=True)

            await self._send_body(last, more=False)
        finally:
            self._context.run(self._close, chunks)

    async def _send_stream(self, iterable: Iterable[bytes]) -> None:
        try:
            if not (self._head.started and self._bodyless):
                await self._pull_all(self._context.run(iter, iterable))

            await self._send_body(b"", more=False)
        finally:
            # A generator's `finally` runs here, and it may wait like the rest of it.
            with anyio.CancelScope(shield=True):
                await self._in_thread(self._close, iterable)

    async def _pull_all(self, iterator: Iterator[bytes]) -> None:
        while True:
            chunk = await self._in_thread(next, iterator, EXHAUSTED)
            if chunk is EXHAUSTED:
                return

            # PEP 3333: headers are sent with the first piece that isn't empty.
            if chunk:
                await self._send_body(cast("bytes", chunk), more=True)

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await anyio.to_thread.run_sync(
            self._context.run, function, *args, limiter=self._shared.stream_limiter
        )

    async def _send_body(self, body: bytes, *, more: bool) -> None:
        if not self._head.sent:
            start = self._head.message()
            self._head.sent = True
            await self._send(start)

        if self._bodyless:
            body = b""

        await self._send(
            {"type": "http.response.body", "body": body, "more_body": more}
        )

    async def _send_error(self, status: int, body: bytes) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    @property
    def _bodyless(self) -> bool:
        return self._scope["method"] == "HEAD" or self._head.bodyless

    def _close(self, iterable: Iterable[bytes]) -> None:
        close = getattr(iterable, "close", None)
        if close is None:
            return

        try:
            close()
        except Exception:
            logger.exception("Error while closing a response")
