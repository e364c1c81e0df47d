"""The protocol of a connection, with refusals in JSON before the application."""

from __future__ import annotations

import math
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from service.server.connection import REFUSED
from service.server.late_refusal import LateRefusal
from service.server.overload import RECORD_REFUSAL, KnownRefusals, StartLimiter
from service.server.pacing import RefusalPacer, cost_of
from service.server.responses import (
    BUSY,
    CLOSE,
    NO_ROOM,
    NOT_READY,
    Refusal,
    refusal,
    with_headers,
)
from service.server.short import ShortConnection
from service.telemetry.requests import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ClassVar

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from inference import Overloaded
    from service.telemetry.requests import Source

UNPACED = frozenset({NO_ROOM, NOT_READY})
CLOSING = (b"connection", b"close")
CLOSES = CLOSE.encode()
READINESS = b"/readyz"
PROBES = frozenset({b"/livez", b"/startupz", READINESS})
PROBE_PATHS = frozenset(path.decode() for path in PROBES)


def overloaded(error: Overloaded) -> Refusal:
    """Return the response that `service.web.errors` makes of `error`."""
    retry = f"retry-after: {math.ceil(error.retry_after)}"
    return refusal(HTTPStatus.TOO_MANY_REQUESTS, "queue_full", str(error), retry)


class JsonErrorProtocol(ShortConnection):
    """Refuses malformed HTTP, requests beyond the event loop's capacity, and those
    that the application is known to refuse now.

    The body of a refused request is never kept.
    """

    start_limiter: ClassVar[StartLimiter] = StartLimiter()
    known_refusals: ClassVar[KnownRefusals] = KnownRefusals()
    pacer: ClassVar[RefusalPacer] = RefusalPacer()

    def begin_request(self) -> None:
        if self.surplus:
            self.surplus = not self.server_state.has_room()

        refused = self._refusal() if self._is_idle() else None

        if refused is not None:
            self._answer_unseen(*refused)
            return

        if not self.begin_short():
            super().begin_request()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[RECORD_REFUSAL] = self.known_refusals.record_request

    def is_refused(self, target: bytes) -> bool:
        return (
            self.surplus
            or self.start_limiter.full
            or self.known_refusals.refusal(b"POST " + target) is not None
        )

    def start_soon(self, function: Callable[[], None]) -> None:
        self.start_limiter.start(function, self.loop)

    def _answer_unseen(self, refusal: Refusal, source: Source = OTHER) -> None:
        """Refuse a request: at once, or in its turn where refusals take too long."""
        self.count(refusal, source)
        cost = cost_of(self.headers)
        response = self._complete(refusal.response)

        if refusal in UNPACED or self.pacer.take(cost, self.loop.time()):
            self.cycle = REFUSED
            self.transport.write(response)
            return

        waiting = LateRefusal(self, keep_alive=not self._must_close())
        self.cycle = self._answering = waiting
        self.pacer.wait(cost, partial(waiting.send, response))
        # Its client waits with the rest of the body.
        self.flow.pause_reading()

    def _complete(self, response: bytes) -> bytes:
        """Return a refusal with what this request's answer has besides."""
        added = [CLOSING] if self._must_close() and CLOSES not in response else []
        # An application that lets pages of other origins read its answers.
        headers_for = getattr(self.app, "headers_for", None)
        if headers_for is not None:
            added += headers_for(dict(self.headers))

        return with_headers(response, added) if added else response

    def _start_asgi_task(
        self, cycle: RequestResponseCycle, app: ASGI3Application
    ) -> None:
        if cycle.scope["path"] in PROBE_PATHS:
            super()._start_asgi_task(cycle, app)
        else:
            self.start_soon(partial(self._start_if_connected, cycle, app))

    def _start_if_connected(
        self, cycle: RequestResponseCycle, app: ASGI3Application
    ) -> None:
        # Skip requests whose client disconnected while queued.
        if not cycle.disconnected:
            super()._start_asgi_task(cycle, app)

    def end_unread(self) -> None:
        super().end_unread()

        # After the body, or the client might not read the answer.
        unseen = self.cycle is REFUSED or isinstance(self.cycle, LateRefusal)
        if unseen and self._must_close():
            self._linger()

    def _must_close(self) -> bool:
        parser, stopping = self.parser, self.server_state.stopping
        # uvicorn closes after each answer to HTTP/1.0, whatever its client asks for.
        kept = parser.should_keep_alive() and parser.get_http_version() != "1.0"
        return self.surplus or stopping or not kept

    def _refusal(self) -> tuple[Refusal, Source] | None:
        """Return the refusal of this request, if any, and who refuses it."""
        if self.url in PROBES:
            down = self.server_state.unready and self.url == READINESS
            return (NOT_READY, OTHER) if down else None

        if self.surplus:
            return NO_ROOM, OTHER

        if self.start_limiter.full:
            return BUSY, OTHER

        if not self.known_refusals:
            return None

        target = self.parser.get_method() + b" " + self.url
        known = self.known_refusals.refusal(target)
        return None if known is None else (overloaded(known.error), known.source)
