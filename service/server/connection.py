"""uvicorn's HTTP protocol, with limits on what a connection may take."""

from __future__ import annotations

import socket
from contextlib import suppress
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.server.limits import LINGER_SECONDS, MIN_BYTES_PER_SECOND, SERVER
from service.server.responses import (
    BODY_TOO_SLOW,
    HEAD_TOO_SLOW,
    NO_TUNNELS,
    STOPPING,
    head_too_large,
    malformed,
)
from service.server.transport import ExchangeTransport
from service.telemetry.requests import OTHER, RequestCounters

if TYPE_CHECKING:
    import asyncio
    from typing import Any, ClassVar

    from uvicorn.config import Config

    from service.server.limits import Connections
    from service.server.responses import Refusal
    from service.telemetry.requests import Source

# Bytes that are parsed at a time: tiny requests that were sent in one go are started
# one after the other, so that no connection takes the loop from the others.
HEAD_SLICE = 4096
BODY_SLICE = 16384

PROBE_SECONDS = 0.1
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"

OFFERS = {b"upgrade", b"http2-settings"}
"""Headers by which a client offers another protocol, and options of `Connection`."""


class Phase(Enum):
    """The client's part of the current request."""

    IDLE = "no request"
    HEAD = "sending headers"
    BODY = "sending a body"
    ANSWER = "waiting for the answer"
    LINGER = "told that the connection is closed"


# In place of uvicorn's current exchange: one that is complete, so that the rest of its
# body is dropped.
REFUSED = cast(
    "RequestResponseCycle",
    SimpleNamespace(
        response_complete=True,
        waiting_for_100_continue=False,
        message_event=SimpleNamespace(set=lambda: None),
    ),
)


class Connection(HttpToolsProtocol):
    """Keeps a connection within the limits of `Connections`, which it belongs to.

    The server calls `check` every now and then. Offers of another protocol are ignored,
    as RFC 9110 allows. A client that has closed its sending side gets its answer.
    """

    server_state: Connections
    # Looser than uvicorn's own: an exchange of ours is as good as its cycle.
    scope: Any
    cycle: Any
    counters: ClassVar[RequestCounters] = RequestCounters()
    """The requests that this process refused before its application saw them."""

    def __init__(
        self,
        config: Config,
        server_state: Connections,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        state = {**app_state, SERVER: server_state}
        super().__init__(config, server_state, state, _loop)
        self.surplus = False
        self._answering: Any = None
        self._max_headers = server_state.limits.headers
        self._max_head_bytes = server_state.limits.head_bytes
        self._phase = Phase.IDLE
        self._since = self.loop.time()
        self._head_bytes = 0
        self._body_bytes = 0
        self._received = 0
        self._unparsed: bytes | memoryview = b""
        self._half_closed = False
        self._probed = False
        self._unsent: tuple[int, float] | None = None

    # The transport's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.surplus = not self.server_state.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._unparsed = b""
        self.server_state.remove(self)
        # uvicorn tells the newest request alone, which may only stand in line.
        self._leave(self._answering)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.LINGER:
            return

        if not (self._unparsed or self.pipeline or len(data) > HEAD_SLICE):
            self._parse(data)
            return

        self._unparsed = bytes(self._unparsed) + data if self._unparsed else data
        self._parse_on()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether to keep the connection open: while a request is answered."""
        # Over TLS asyncio closes the connection, whatever is returned.
        if self.scheme == "https" or not (self._unparsed or self._is_owed()):
            return False

        self._half_closed = True
        self._probe(PROBE_SECONDS)
        if not self._unparsed:
            self.cycle.keep_alive = False

        return True

    def resume_writing(self) -> None:
        self._unsent = None
        super().resume_writing()

    # Parsing

    def _parse_on(self) -> None:
        """Parse what has arrived, until a request waits for the one before it."""
        rest = memoryview(self._unparsed)

        while rest and not self.pipeline and self._phase is not Phase.LINGER:
            size = self._body_slice() if self._phase is Phase.BODY else HEAD_SLICE
            piece, rest = rest[:size], rest[size:]
            self._parse(piece)

        closed = self._phase is Phase.LINGER or self.transport.is_closing()
        self._unparsed = b"" if closed else rest

        if self._unparsed:
            self.flow.pause_reading()
        elif self._half_closed and self._is_owed():
            self.cycle.keep_alive = False
        elif self._half_closed:
            self.transport.close()

    def _is_owed(self) -> bool:
        """Return whether a client that sends no more is to get an answer."""
        return self._phase is not Phase.BODY and not self._is_idle()

    def _body_slice(self) -> int:
        """Return the bytes of a body to parse at once: what is left of a long one."""
        lengths = [value for name, value in self.headers if name == b"content-length"]
        left = int(lengths[0]) - self._received if lengths else 0
        return max(BODY_SLICE, left)

    def _parse(self, data: bytes | memoryview) -> None:
        if self._phase is Phase.BODY:
            self._body_bytes += len(data)
        else:
            self._head_bytes += len(data)

        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            self._pass_over_upgrade(data[exc.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

        if self._head_bytes > self._max_head_bytes and self._phase is Phase.HEAD:
            self._refuse_head()

    def _pass_over_upgrade(self, rest: bytes | memoryview) -> None:
        """Take the request up again without its offer of another protocol."""
        # The parser believes that after these headers comes another protocol, and so
        # gives up the body.
        if self._phase is Phase.LINGER:
            return

        if self.parser.get_method() == b"CONNECT":
            self._refuse(NO_TUNNELS)
            return

        head = without_offers(
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version(),
            self.headers,
        )
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._head_bytes = 0
        self._parse(head)
        self._parse(rest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._phase is not Phase.LINGER:
            self._phase = Phase.HEAD
            self._since = self.loop.time()

    def on_headers_complete(self) -> None:
        if self._phase is Phase.LINGER or self.parser.should_upgrade():
            return

        if (
            len(self.headers) > self._max_headers
            or self._head_bytes > self._max_head_bytes
        ) and self._is_head_too_large():
            self._refuse_head()
            return

        self._phase = Phase.BODY
        self._since = self.loop.time()
        self._head_bytes = self._body_bytes = self._received = 0
        self.server_state.begin(self)
        self.begin_request()

        if self.server_state.stopping and self.cycle is not REFUSED:
            self.cycle.keep_alive = False

    def begin_request(self) -> None:
        """Answer the request whose head has arrived."""
        super().on_headers_complete()
        # It would close while the client still sends, and so lose the answer.
        self.cycle.transport = ExchangeTransport(self.transport, self._close_answered)
        if not self.pipeline:
            self._answering = self.cycle

    # The next two as uvicorn has them, but for upgrades: those are over by then.

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        self._received += len(body)
        if self._phase is not Phase.BODY or cycle.response_complete:
            return

        self._keep(cycle, body)
        cycle.message_event.set()
        if len(cycle.body) > HIGH_WATER_LIMIT and type(cycle) is RequestResponseCycle:
            self.flow.pause_reading()

    def _keep(self, cycle: RequestResponseCycle, body: bytes) -> None:
        """Add to the body that the application hasn't taken yet."""
        # Most pieces are taken before the next one comes: two copies less of each.
        if not cycle.body:
            cycle.body = cast("bytearray", body)
            return

        if isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body)

        cycle.body += body

    def on_message_complete(self) -> None:
        cycle = self.cycle
        if self._phase is not Phase.BODY:
            return

        if cycle.response_complete:
            self.end_unread()
        else:
            self._phase = Phase.ANSWER
            cycle.more_body = False
            cycle.message_event.set()

    def end_unread(self) -> None:
        """End a request that was answered before its body was complete."""
        self._set_idle()

    def on_response_complete(self) -> None:
        # uvicorn's own sets a timer for each response; `check` needs none.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return

        self.flow.resume_reading()
        if self.pipeline:
            self._answering, app = self.pipeline.pop()
            self._start_asgi_task(self._answering, app)
        elif self._phase is Phase.ANSWER:
            self._set_idle()

        if self._unparsed:
            self.loop.call_soon(self._parse_on)

    def _is_head_too_large(self) -> bool:
        # What has arrived may hold a part of the body, too.
        lengths = (len(name) + len(value) + 4 for name, value in self.headers)
        return (
            len(self.headers) > self._max_headers
            or len(self.url) + sum(lengths) > self._max_head_bytes
        )

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _set_idle(self) -> None:
        self._phase = Phase.IDLE
        self._since = self.loop.time()
        self.server_state.end(self)

    # Refusals

    def send_400_response(self, msg: str) -> None:
        self._refuse(malformed(msg))

    def _refuse_head(self) -> None:
        limits = self.server_state.limits
        self._refuse(head_too_large(limits.head_bytes, limits.headers))

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that can't be read, and drop all that follows it."""
        if self._phase is Phase.LINGER:
            return

        if self._phase is Phase.BODY:
            self._refuse_rest(refusal)
            return

        self.count(refusal)
        if self._is_idle():
            self.transport.write(refusal.response)
            self._linger()
        else:
            self._close_when_answered()

    def _refuse_rest(self, refusal: Refusal) -> None:
        """Give up the current request: the rest of its body can't be read."""
        if self._is_idle():
            # It has its answer.
            self._linger()
        elif self.pipeline:
            # Its turn never comes.
            self.count(refusal)
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._answering
            self._close_when_answered()
        else:
            self._give_up(refusal)

    def _close_when_answered(self) -> None:
        """Read no more, and close after the answers that are still due."""
        # They go in the order of the requests: those of before come first.
        self._phase = Phase.LINGER
        self._since = float("inf")
        self.cycle.keep_alive = False

    def count(self, refusal: Refusal, source: Source = OTHER) -> None:
        """Count a request that the application will not see."""
        self.counters.sources[source].add((int(refusal.status),), (0.0,), (0,))
        if refusal.reason:
            self.counters.refuse(refusal.reason, source[0])

    def _give_up(self, refusal: Refusal) -> None:
        """End the current request, with `refusal` unless an answer has begun."""
        # The application counts it, as one whose client has gone.
        self.counters.refuse(refusal.reason)
        cycle = self.cycle
        begun = cycle.response_started or self.pipeline
        self._leave(cycle)

        if begun:
            self.transport.abort()
        else:
            self.transport.write(refusal.response)
            self._linger()

    def _leave(self, cycle: RequestResponseCycle | None) -> None:
        """Let a request know that nobody waits for its answer."""
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    def _close_answered(self) -> None:
        """Close after an answer, as early as the client can read it."""
        if self._phase is Phase.BODY:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close the sending side, and read on for a while."""
        # Closed while the client still sends, the connection would be reset, and the
        # answer be lost with it.
        self.cycle = REFUSED
        self._phase = Phase.LINGER
        self._since = self.loop.time()
        self.flow.resume_reading()

        with suppress(OSError, RuntimeError):
            self.transport.write_eof()

    # Time

    def check(self, now: float) -> None:
        """Close the connection if its client is too slow; `now` is the loop's time."""
        limits, age = self.server_state.limits, now - self._since

        if self._is_unread(now):
            self.transport.abort()
        elif self._phase is Phase.BODY:
            self._check_body(now)
        elif self._phase is Phase.HEAD and self._unparsed:
            # Its rest waits for the answer to the request before it.
            self._since = now
        elif self._phase is Phase.HEAD and age > limits.head_seconds:
            self._refuse(HEAD_TOO_SLOW)
        elif (self._phase is Phase.IDLE and age > limits.keep_alive_seconds) or (
            self._phase is Phase.LINGER and age > LINGER_SECONDS
        ):
            self.transport.close()

    def _check_body(self, now: float) -> None:
        seconds = self.server_state.limits.body_seconds
        # A client may be waiting for us, too.
        waits = self.flow.read_paused or self.cycle.waiting_for_100_continue
        came = self._body_bytes >= MIN_BYTES_PER_SECOND * seconds

        if waits or (came and now - self._since > seconds):
            self._since, self._body_bytes = now, 0
        elif now - self._since > seconds and self._is_idle():
            self.transport.abort()
        elif now - self._since > seconds:
            self._give_up(BODY_TOO_SLOW)

    def _is_unread(self, now: float) -> bool:
        """Return whether the client has stopped reading what it is sent."""
        size = self.transport.get_write_buffer_size()
        if not size:
            self._unsent = None
            return False

        before, since = self._unsent or (size, now)
        if self._unsent is None:
            self._unsent = size, now

        seconds = self.server_state.limits.write_seconds
        if now - since <= seconds:
            return False

        self._unsent = size, now
        return before - size < MIN_BYTES_PER_SECOND * seconds

    def _probe(self, delay: float) -> None:
        """Find out whether the client is still there, after its end of sending."""
        self.loop.call_later(delay, self._look, delay)

    def _look(self, delay: float) -> None:
        # A client that is gone looks like one that only ended sending, until something
        # is sent to it: its machine then answers that there is nobody.
        if self._is_idle() or self.transport.is_closing():
            return

        if not is_connected(self.transport):
            self.transport.abort()
            return

        plain = self.cycle.scope["http_version"] == "1.1" and not self.pipeline
        if plain and not (self._probed or self.cycle.response_started):
            self._probed = True
            self.transport.write(PROCESSING)

        self._probe(min(2 * delay, 1.0))

    # The end of the server

    def shutdown(self) -> None:
        """Close the connection once its request has been answered."""
        if not self._is_idle():
            self.cycle.keep_alive = False
        elif self._phase is not Phase.LINGER:
            self.transport.close()

    def is_busy(self) -> bool:
        """Return whether a request is under way, or an answer not yet sent."""
        return not self._is_idle() or self.transport.get_write_buffer_size() > 0

    def end(self) -> None:
        """Close the connection now; a request under way is refused."""
        if self._is_idle():
            self.transport.abort()
        else:
            self._give_up(STOPPING)


def without_offers(
    method: bytes, target: bytes, version: str, headers: list[tuple[bytes, bytes]]
) -> bytes:
    """Return a request's head without what offers to change the protocol."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode("ascii"))]

    for name, value in headers:
        if name == b"connection":
            options = [option.strip() for option in value.split(b",")]
            kept = [option for option in options if option.lower() not in OFFERS]
            value = b", ".join(kept)

        if name not in OFFERS:
            lines.append(b"%b: %b" % (name, value))

    return b"\r\n".join(lines) + b"\r\n\r\n"


def is_connected(transport: asyncio.Transport) -> bool:
    """Return whether no error is pending at the transport's socket."""
    try:
        error: int = transport.get_extra_info("socket").getsockopt(
            socket.SOL_SOCKET, socket.SO_ERROR
        )
    except OSError:
        return False

    return not error
