"""Cross-origin requests from web pages (the Fetch standard's CORS protocol)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service.telemetry.timing import TIMING_HEADER, VERSION_HEADER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from service.bridge.bridge import Message, Receive, Scope, Send

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]
    Header = tuple[bytes, bytes]

ANY = "*"
PREFLIGHT_SECONDS = 600

# No `Authorization`: no page of another origin calls what needs the admin token.
_TAKEN = (
    "Accept, Cache-Control, Content-Encoding, Content-Type, Idempotency-Key,"
    " Inference-Header-Content-Length, Prefer, Traceparent, Tracestate, X-API-Key,"
    " X-Request-ID"
)
_SHOWN = (
    "Age, Cache-Status, Inference-Header-Content-Length, Location, Retry-After,"
    f" {TIMING_HEADER}, {VERSION_HEADER}, X-Request-ID"
)
_PREFLIGHT = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE"),
    (b"access-control-allow-headers", _TAKEN.encode()),
    (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
)
_EXPOSED = (b"access-control-expose-headers", _SHOWN.encode())
_VARY = (b"vary", b"Origin")


class CrossOrigin:
    """Lets pages of `origins` call `application`; the origin `*` is any."""

    def __init__(self, application: Application, origins: Collection[str]) -> None:
        self._application = application
        self._any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return

        headers = dict(scope["headers"])
        allowed = self._allow(headers)
        wanted = b"access-control-request-method" in headers
        if allowed and wanted and scope["method"] == "OPTIONS":
            await _send_preflight(send, allowed)
            return

        added = self.headers_for(headers)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *added]}

            await send(message)

        await self._application(scope, receive, send_with_headers)

    def headers_for(self, headers: Mapping[bytes, bytes]) -> list[Header]:
        """Return what the answer to a request with these headers has besides its own.

        For those, too, that answer before the application.
        """
        allowed = self._allow(headers)
        if allowed:
            return [*allowed, _EXPOSED]

        return [] if self._any else [_VARY]

    def _allow(self, headers: Mapping[bytes, bytes]) -> list[Header]:
        """Return the headers that allow a request's origin, none if it isn't listed."""
        origin = headers.get(b"origin", b"")
        if self._any and origin:
            return [(b"access-control-allow-origin", b"*")]

        if origin not in self._origins:
            return []

        # Caches must not give one origin's answer to another.
        return [(b"access-control-allow-origin", origin), _VARY]


async def _send_preflight(send: Send, allowed: list[Header]) -> None:
    headers = [*allowed, *_PREFLIGHT, (b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
