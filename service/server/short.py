"""Requests that are answered as a whole: no task, and none of ASGI's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Self, TypeAlias

    from service.server.connection import Connection

    Headers: TypeAlias = list[tuple[bytes, bytes]]

DECLINED = "tandem.declined"
"""Key in the scope of a request that was declined: it isn't to be tried again."""

KEPT = 1024
"""Bytes of a head that a connection may keep."""


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


class KnownHead:
    """The head of a connection's last short request: the next is mostly the same."""

    __slots__ = ("_headers", "_path", "_raw_path", "_target", "head")

    def __init__(self, target: bytes, path: str, scope: Any, head: Any) -> None:
        self.head = head
        self._target = target
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._path = path
        self._raw_path = path.encode("latin-1")

    @classmethod
    def find(
        cls, shortcut: Shortcut, root_path: str, target: bytes, scope: Any
    ) -> Self | None:
        """Look a request's head up; `None` for ASGI's way."""
        if not target.startswith(b"/") or any(each in target for each in b"?%#"):
            return None

        known = cls(target, root_path + target.decode("latin-1"), scope, None)
        known.describe(scope)
        known.head = shortcut.head(scope)
        return known if known.head is not None else None

    @property
    def is_small(self) -> bool:
        """Return whether each connection may keep it."""
        return sum(len(name) + len(value) for name, value in self._headers) <= KEPT

    def is_of(self, target: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
        """Return whether another request has the same head."""
        return self._target == target and self._headers == headers

    def describe(self, scope: Any) -> None:
        """Complete a request's scope, as uvicorn does."""
        scope["method"] = "POST"
        scope["path"], scope["raw_path"] = self._path, self._raw_path
        scope["query_string"] = b""


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

    def __init__(self, connection: Connection, shortcut: Shortcut, head: Any) -> None:
        self.scope: Any = connection.scope
        self.body = b""
        self.more_body = self.keep_alive = True
        self.disconnected = self.waiting_for_100_continue = False
        self.response_started = self.response_complete = False
        self.leave: Callable[[], None] | None = None
        self._connection: Connection | None = connection
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
