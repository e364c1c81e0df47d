"""Requests that wait for their turn to be refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.server.connection import Connection


class LateRefusal:
    """A request that waits to be refused, in place of uvicorn's exchange.

    It has what uvicorn's protocol and ours use of that, and drops the body. It is its
    own event, which nobody waits for.
    """

    # uvicorn's would take a task and an event: half of what a refusal costs.

    __slots__ = (
        *("disconnected", "keep_alive", "more_body", "scope", "_connection"),
        *("response_complete", "response_started", "waiting_for_100_continue"),
    )

    def __init__(self, connection: Connection, *, keep_alive: bool) -> None:
        self._connection = connection
        self.scope = connection.scope
        self.waiting_for_100_continue = connection.expect_100_continue
        self.keep_alive = keep_alive
        self.more_body = True
        self.disconnected = self.response_started = self.response_complete = False

    @property
    def body(self) -> bytes:
        return b""

    @body.setter
    def body(self, body: bytes) -> None: ...

    @property
    def message_event(self) -> LateRefusal:
        return self

    def set(self) -> None: ...

    def send(self, response: bytes) -> bool:
        """Send the bytes of a whole response; return false if the client has gone."""
        if self.disconnected:
            return False

        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        transport = self._connection.transport
        transport.write(response)
        # Closed while its body still comes, it would be reset, and the response lost.
        if not self.keep_alive and not self.more_body:
            transport.close()

        self._connection.on_response_complete()
        return True
