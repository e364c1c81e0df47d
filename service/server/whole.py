"""Whole responses, past the messages of ASGI and their checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from typing import TypeAlias

    Headers: TypeAlias = list[tuple[bytes, bytes]]


def head_of(status: int, common: Headers, lines: bytes, body: bytes) -> bytes:
    """Return the head of a response with the `common` headers and `lines`."""
    return b"%b%b%bcontent-length: %d\r\n\r\n" % (
        STATUS_LINE[status],
        _common(common),
        lines,
        len(body),
    )


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
