"""uvicorn's HTTP protocol, with refusals in JSON before the application."""

from __future__ import annotations

import json
import math
from functools import partial
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.server.overload import RECORD_REFUSAL, KnownRefusals, StartLimiter

if TYPE_CHECKING:
    from typing import Any, ClassVar

    from uvicorn._types import ASGI3Application
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from inference import Overloaded

STOPPING = "tandem.stopping"
"""Key in the scope of a request that runs while the server is to stop."""

PROBES = frozenset({b"/livez", b"/readyz"})


def raw_json_response(status: HTTPStatus, text: str, *headers: str) -> bytes:
    """Return the bytes of a JSON error response."""
    body = json.dumps({"error": text}).encode("ascii")
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


BUSY = raw_json_response(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The server is busy: more requests arrive than it can start. Send this one again "
    "after the seconds in Retry-After.",
    "retry-after: 1",
)


def raw_overloaded_response(error: Overloaded) -> bytes:
    """Return the bytes of the response that `service.web.errors` makes of `error`."""
    seconds = math.ceil(error.retry_after)
    return raw_json_response(
        HTTPStatus.TOO_MANY_REQUESTS, str(error), f"retry-after: {seconds}"
    )


# In place of uvicorn's current exchange: one that is complete, so that the rest of its
# body is dropped.
REFUSED = cast(
    "RequestResponseCycle",
    SimpleNamespace(
        response_complete=True, message_event=SimpleNamespace(set=lambda: None)
    ),
)


class JsonErrorProtocol(HttpToolsProtocol):
    """Refuses malformed HTTP, requests beyond the event loop's capacity, and those
    that the application is known to refuse now.

    A refusal costs about a tenth of an answer, and its body is never kept.
    """

    start_limiter: ClassVar[StartLimiter] = StartLimiter()
    known_refusals: ClassVar[KnownRefusals] = KnownRefusals()

    def on_headers_complete(self) -> None:
        target = self.parser.get_method() + b" " + self.url
        refusal = self._refusal(target) if self._is_idle() else None

        if refusal is not None:
            self._refuse(refusal)
            return

        scope = cast("dict[str, Any]", self.scope)
        scope[RECORD_REFUSAL] = partial(self.known_refusals.record, target)
        super().on_headers_complete()

    def _start_asgi_task(
        self, cycle: RequestResponseCycle, app: ASGI3Application
    ) -> None:
        if self.url in PROBES:
            super()._start_asgi_task(cycle, app)
        else:
            self.start_limiter.start(
                partial(self._start_if_connected, cycle, app), self.loop
            )

    def _start_if_connected(
        self, cycle: RequestResponseCycle, app: ASGI3Application
    ) -> None:
        # Skip requests whose client disconnected while queued.
        if not cycle.disconnected:
            super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        super().on_message_complete()

        if self.cycle is REFUSED:
            self._end_refused()

    def shutdown(self) -> None:
        # uvicorn waits for all requests: one that could go on for hours looks for this.
        if not self._is_idle():
            cast("dict[str, Any]", self.cycle.scope)[STOPPING] = True

        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        status = HTTPStatus.BAD_REQUEST
        self.transport.write(raw_json_response(status, msg, "connection: close"))
        self.transport.close()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refusal(self, target: bytes) -> bytes | None:
        if self.start_limiter.full and self.url not in PROBES:
            return BUSY

        error = self.known_refusals.refusal(target)
        return None if error is None else raw_overloaded_response(error)

    def _refuse(self, answer: bytes) -> None:
        self.cycle = REFUSED
        self.transport.write(answer)

    def _end_refused(self) -> None:
        # After the body, or the client might not read the answer.
        if not self.parser.should_keep_alive():
            self.transport.close()
        elif not self.transport.is_closing():
            # The keep-alive timer stopped when this request arrived.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
