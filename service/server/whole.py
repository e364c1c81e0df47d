"""Whole bodies and responses, past the messages of ASGI and their checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeAlias

    Headers: TypeAlias = list[tuple[bytes, bytes]]


def exchange_of(
    receive: Callable[..., Any], send: Callable[..., Any]
) -> RequestResponseCycle | None:
    """Return uvicorn's exchange that has these channels.

    `None` for another server's, or where something stands between it and us.
    """
    # Not by a key in the scope: exchange and scope would hold each other, and each
    # request's body lie in memory until a garbage collection.
    owner = getattr(send, "__self__", None)
    if type(owner) is not RequestResponseCycle or receive != owner.receive:
        return None

    return owner


def take_body(exchange: RequestResponseCycle) -> bytes | None:
    """Return the body if all of it has come; else ASGI's messages have it.

    They go on to have it, so that it may be taken again.
    """
    if exchange.more_body or exchange.disconnected or exchange.waiting_for_100_continue:
        return None

    return bytes(exchange.body)


def respond(
    exchange: RequestResponseCycle,
    status: int,
    lines: bytes,
    body: bytes,
) -> bool:
    """Send a response with header `lines` and a length; return false if it is not sent.

    That is so where the connection is to be closed, or where it can't be written to
    now: ASGI's messages then do what is needed. `lines` must be valid, with names in
    lower case.
    """
    # uvicorn's `send` costs 9 µs more for its two messages, mostly for looking through
    # headers that are ours anyhow.
    if (
        exchange.response_started
        or exchange.disconnected
        or not exchange.keep_alive
        or exchange.flow.write_paused
    ):
        return False

    exchange.response_started = exchange.response_complete = True
    exchange.waiting_for_100_continue = False
    exchange.transport.write(
        b"%b%b%bcontent-length: %d\r\n\r\n%b"
        % (
            STATUS_LINE[status],
            _common(exchange.default_headers),
            lines,
            len(body),
            body,
        )
    )
    exchange.message_event.set()
    exchange.on_response()
    return True


def send_raw(exchange: RequestResponseCycle, response: bytes) -> None:
    """Send the bytes of a whole response, unless the client has gone."""
    if exchange.response_started or exchange.disconnected:
        return

    exchange.response_started = exchange.response_complete = True
    exchange.waiting_for_100_continue = False
    exchange.transport.write(response)
    exchange.message_event.set()
    # Closed while its body still comes, it would be reset, and the response lost.
    if not exchange.keep_alive and not exchange.more_body:
        exchange.transport.close()

    exchange.on_response()


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
