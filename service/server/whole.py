"""A whole response in one write, past the checks that ASGI's messages need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    Headers: TypeAlias = list[tuple[bytes, bytes]]
    Respond: TypeAlias = Callable[[int, Iterable[tuple[bytes, bytes]], bytes], bool]

RESPOND = "tandem.respond"
"""Key in the scope of a function that sends a response whole, if it can."""


def respond(
    cycle: RequestResponseCycle,
    status: int,
    headers: Iterable[tuple[bytes, bytes]],
    body: bytes,
) -> bool:
    """Send a response with `headers` and a length; return false if nothing was sent.

    That is so where the connection is to be closed, or where it can't be written to
    now: ASGI's messages then do what is needed. `headers` must be valid, with names in
    lower case.
    """
    # uvicorn's `send` costs 9 µs more for its two messages, mostly for looking through
    # headers that are ours anyhow.
    if (
        cycle.response_started
        or cycle.disconnected
        or not cycle.keep_alive
        or cycle.flow.write_paused
    ):
        return False

    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    lines = [b"%b: %b\r\n" % header for header in headers]
    cycle.transport.write(
        b"%b%b%bcontent-length: %d\r\n\r\n%b"
        % (
            STATUS_LINE[status],
            _common(cycle.default_headers),
            b"".join(lines),
            len(body),
            body,
        )
    )
    cycle.message_event.set()
    cycle.on_response()
    return True


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
