"""One kept connection with at most one request on it, fast enough to measure with."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from httptools import HttpParserError, HttpResponseParser

if TYPE_CHECKING:
    from asyncio import Transport
    from typing import Any


class Owner(Protocol):
    """A sender of requests; called on the loop's thread."""

    def opened(self, connection: Connection) -> None:
        """Send the first request, if there is one."""

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        """Take a whole response; the connection takes the next request if `open`."""

    def lost(self, connection: Connection) -> None:
        """Note that it is closed, its request unanswered if it is `busy`."""


class Connection(asyncio.Protocol):
    """Bytes of a request out, status and body in. `sent` is for the owner's use."""

    __slots__ = (
        "_owner",
        "_parser",
        "_parts",
        "_transport",
        "busy",
        "idle_since",
        "open",
        "sent",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._parser = HttpResponseParser(self)
        self._parts: list[bytes] = []
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
        """Drop it at once, even with a request on it."""
        self.open = False

        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.open = True
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        if not self.busy:
            # No request is open: the server is about to close the connection.
            self.close()
            return

        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._owner.lost(self)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._parts)
        self._parts.clear()
        self.busy = False

        if not self._parser.should_keep_alive():
            self.close()

        self._owner.answered(self, self._parser.get_status_code(), body)
