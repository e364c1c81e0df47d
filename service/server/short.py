"""Requests that are answered as a whole: no task, and none of ASGI's messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.server.connection import Connection, Phase
from service.server.known_heads import KnownHead

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    Headers: TypeAlias = list[tuple[bytes, bytes]]

DECLINED = "tandem.declined"
"""Key in the scope of a request that was declined: it isn't to be tried again."""


class Shortcut(Protocol):
    """A part of an application that answers some of its requests on their exchange."""

    def head(self, scope: Any) -> Any:
        """Return what is known of a request by its head; `None` for ASGI's way."""

    def accepts(self, head: Any, scope: Any) -> bool:
        """Return whether one more request may go as `head`'s, which was the same."""

    def begin(self, head: Any, exchange: ShortExchange) -> None:
        """Call `respond`, now or later, or `decline` now; raise nothing.

        One that goes on sets `leave`, to be told that the client has gone.
        """

    def leave_unread(self, head: Any, exchange: ShortExchange) -> None:
        """Note that the client has gone before its body was complete."""


class ShortExchange:
    """One request and its answer, in place of uvicorn's `RequestResponseCycle`.

    It has what uvicorn's protocol and ours use of that. It is its own event, `set` when
    more of the body has come, or the client has gone.
    """

    # uvicorn makes a task, an event and two messages each way of a request: a sixth of
    # what a small one costs.

    __slots__ = (
        *("body", "disconnected", "keep_alive", "leave", "more_body", "scope"),
        *("response_complete", "response_started", "waiting_for_100_continue"),
        *("_begun", "_connection", "_head", "_shortcut"),
    )

    def __init__(
        self, connection: ShortConnection, shortcut: Shortcut, head: Any
    ) -> None:
        self.scope: Any = connection.scope
        self.body = b""
        self.more_body = self.keep_alive = True
        self.disconnected = self.waiting_for_100_continue = False
        self.response_started = self.response_complete = False
        self.leave: Callable[[], None] | None = None
        self._connection: ShortConnection | None = connection
        self._shortcut = shortcut
        self._head = head
        self._begun = False

    @property
    def message_event(self) -> ShortExchange:
        return self

    def set(self) -> None:
        if self._connection is None:
            return

        if self.disconnected:
            self._end_unanswered()
        elif not self.more_body:
            self._connection.start_soon(self.begin)

    def begin(self) -> None:
        """Have the request answered, now that it is whole."""
        # Its client may have gone while it waited for its turn.
        if not self.disconnected:
            self._begun = True
            self._shortcut.begin(self._head, self)

    def decline(self) -> None:
        """Leave the request to the application."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self.scope[DECLINED] = True
            connection.begin_long(self)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` for the request, in a task that the server waits for."""
        assert self._connection is not None
        self._connection.spawn(coroutine)

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Send a response with header `lines`, in lower case, and a length."""
        connection, self._connection = self._connection, None
        if self.response_started or self.disconnected or connection is None:
            return

        self.response_started = self.response_complete = True
        if connection.transport.is_closing():
            return

        self.body, self.leave = b"", None
        if not self.keep_alive:
            lines += b"connection: close\r\n"

        head = head_of(status, connection.server_state.default_headers, lines, body)
        connection.transport.write(head + body)
        if not self.keep_alive:
            connection.transport.close()

        connection.on_response_complete()

    def _end_unanswered(self) -> None:
        leave, self.leave, self._connection = self.leave, None, None
        if leave is not None:
            leave()
        elif not self._begun:
            self._shortcut.leave_unread(self._head, self)


class ShortConnection(Connection):
    """A connection that answers whole requests on their exchange, where it may.

    The application says which, if it has a `shortcut`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shortcut: Shortcut | None = getattr(self.app, "shortcut", None)
        self._known_head: KnownHead | None = None
        self._repeated: KnownHead | None = None

    def data_received(self, data: bytes) -> None:
        if self._shortcut is None or self._phase is not Phase.IDLE or self._unparsed:
            super().data_received(data)
            return

        found = self.server_state.heads.find(data)
        if found is not None and self._begin_known(*found):
            return

        self._repeated = None
        super().data_received(data)
        if self._repeated is not None and self._phase is not Phase.BODY:
            self.server_state.heads.keep(self._repeated, data, self._received)

    def _begin_known(self, known: KnownHead, body: bytes) -> bool:
        """Begin a request as the parser would have it begun, unless it is refused."""
        state, shortcut = self.server_state, self._shortcut
        assert shortcut is not None
        if self.flow.write_paused or state.stopping or self.is_refused(known.target):
            return False

        self.on_message_begin()
        self.url = known.target
        self.headers += known.headers
        known.describe(self.scope)
        if not shortcut.accepts(known.head, self.scope):
            return False

        self._phase = Phase.ANSWER
        self._received = len(body)
        state.begin(self)
        exchange = ShortExchange(self, shortcut, known.head)
        exchange.body, exchange.more_body = body, False
        self.cycle = self._answering = exchange
        self.start_soon(exchange.begin)
        return True

    def is_refused(self, target: bytes) -> bool:
        """Return whether a short request to `target` isn't to reach the application."""
        return False

    def begin_short(self) -> bool:
        """Answer the request without a task, once it is whole, if that can be."""
        shortcut = self._shortcut
        if shortcut is None or not self._may_be_short():
            return False

        known = self._known_head
        if known is not None and known.is_of(self.url, self.headers):
            self._repeated = known
            known.describe(self.scope)
            accepted = shortcut.accepts(known.head, self.scope)
        else:
            known = KnownHead.look_up(
                shortcut.head, self.root_path, self.url, self.scope
            )
            self._known_head = known if known is not None and known.is_small else None
            accepted = known is not None

        if known is None or not accepted:
            return False

        self.cycle = self._answering = ShortExchange(self, shortcut, known.head)
        return True

    def begin_long(self, exchange: ShortExchange) -> None:
        """Answer a whole request by the application, after all."""
        cycle = RequestResponseCycle(
            scope=exchange.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=exchange.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body = bytearray(exchange.body)
        cycle.more_body = False
        cycle.message_event.set()
        # A request that was sent after it may have arrived.
        if self.cycle is exchange:
            self.cycle = cycle

        self._answering = cycle
        # Past the line: its turn has come.
        super()._start_asgi_task(cycle, self.app)

    def start_soon(self, function: Callable[[], None]) -> None:
        """Call `function` when its turn has come."""
        function()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run `coroutine` in a task that the server waits for."""
        task = self.loop.create_task(coroutine)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _may_be_short(self) -> bool:
        parser = self.parser
        return (
            parser.get_method() == b"POST"
            and self._is_idle()
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and not self.flow.write_paused
        )


def head_of(status: int, common: Headers, lines: bytes, body: bytes) -> bytes:
    """Return the head of a response with the `common` headers and `lines`."""
    return b"%b%b%bcontent-length: %d\r\n\r\n" % (
        STATUS_LINE[status],
        _common(common),
        lines,
        len(body),
    )


class _Common:
    """The header lines of all responses; uvicorn makes the list anew each second."""

    def __init__(self) -> None:
        self.headers: Headers = []
        self.lines = b""

    def __call__(self, headers: Headers) -> bytes:
        if headers is not self.headers:
            self.headers = headers
            self.lines = b"".join([b"%b: %b\r\n" % header for header in headers])

        return self.lines


_common = _Common()
