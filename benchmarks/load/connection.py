"""One kept connection with at most one request on it: no task, no HTTP library."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import Transport
    from typing import Any

END = b"\r\n\r\n"
LENGTH = b"content-length:"
CLOSES = b"connection: close"


class Owner(Protocol):
    """Whoever sends over connections; called on the loop's thread."""

    def opened(self, connection: Connection) -> None:
        """It can take a request."""

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        """The response is whole; the connection takes the next request if `open`."""

    def lost(self, connection: Connection) -> None:
        """It is closed, with its request unanswered if it is `busy`."""


class Connection(asyncio.Protocol):
    """Bytes of a request out, status and body in. `sent` is whatever the owner says."""

    __slots__ = (
        "_buffer",
        "_owner",
        "_transport",
        "busy",
        "idle_since",
        "open",
        "sent",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._buffer = b""
        self._transport: Transport | None = None
        self.busy = False
        self.open = False
        self.idle_since = 0.0
        self.sent: Any = None

    def send(self, request: bytes, sent: Any) -> None:
        """Begin an exchange; the last one must have ended."""
        assert self._transport is not None
        self.busy = True
        self.sent = sent
        self._transport.write(request)

    def close(self) -> None:
        """Drop it at once, whatever is under way."""
        self.open = False

        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.open = True
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            # Nobody asked: the server is about to close it.
            self.close()
            return

        received = self._buffer + data if self._buffer else data
        ends = received.find(END)

        if ends < 0:
            self._buffer = received
            return

        head = received[:ends].lower()
        ends += len(END)
        missing = _length(head) - (len(received) - ends)

        if missing > 0:
            self._buffer = received
            return

        self._buffer = b""
        self._finish(head, received[ends:])

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._owner.lost(self)

    def _finish(self, head: bytes, body: bytes) -> None:
        self.busy = False

        if CLOSES in head:
            self.close()

        self._owner.answered(self, int(head[9:12]), body)


def _length(head: bytes) -> int:
    """The length of the body; 0 where the head, in lower case, doesn't say."""
    at = head.find(LENGTH)

    if at < 0:
        return 0

    return int(head[at + len(LENGTH) :].partition(b"\r\n")[0])
