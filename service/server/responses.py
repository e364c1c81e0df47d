"""Responses that the server itself gives, as bytes."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSE = "connection: close"


class Refusal(NamedTuple):
    """A response, its status, and the reason that metrics give, if any."""

    response: bytes
    status: HTTPStatus
    reason: str = ""


def refusal(status: HTTPStatus, reason: str, text: str, *headers: str) -> Refusal:
    """Return a refusal with a JSON error."""
    return Refusal(raw_json_response(status, text, *headers), status, reason)


def raw_json_response(status: HTTPStatus, text: str, *headers: str) -> bytes:
    """Return the bytes of a JSON error response."""
    return raw_response(status, {"error": text}, *headers)


def raw_response(status: HTTPStatus, document: object, *headers: str) -> bytes:
    """Return the bytes of a response with a JSON document."""
    body = json.dumps(document).encode("ascii")
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


def with_headers(response: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a response with further headers."""
    head, end, body = response.partition(b"\r\n\r\n")
    lines = [b"\r\n%b: %b" % header for header in headers]
    return b"".join((head, *lines, end, body))


BUSY = refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "event_loop_busy",
    "The server is busy: more requests arrive than it can start. Send this one again "
    "after the seconds in Retry-After.",
    "retry-after: 1",
)
NO_ROOM = refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "connections_full",
    "The server has as many busy connections as it may (--max-connections). Connect "
    "again after the seconds in Retry-After.",
    "retry-after: 1",
    CLOSE,
)
STOPPING = refusal(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "stopping",
    "The server is stopping, and this request's time to end (--grace) is over. Send it "
    "to another server.",
    "retry-after: 1",
    CLOSE,
)
NOT_READY = Refusal(
    raw_response(
        HTTPStatus.SERVICE_UNAVAILABLE,
        {"ready": False, "reason": "the server is stopping", "stopping": True},
        CLOSE,
    ),
    HTTPStatus.SERVICE_UNAVAILABLE,
)
HEAD_TOO_SLOW = refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    "head_too_slow",
    "The request's headers took too long to arrive (--header-timeout).",
    CLOSE,
)
BODY_TOO_SLOW = refusal(
    HTTPStatus.REQUEST_TIMEOUT,
    "body_too_slow",
    "The request's body stopped arriving, or came too slowly (--body-timeout).",
    CLOSE,
)
NO_TUNNELS = refusal(
    HTTPStatus.NOT_IMPLEMENTED,
    "malformed",
    "CONNECT is not supported: this is no proxy.",
    CLOSE,
)


def malformed(text: str) -> Refusal:
    """Return the response to what isn't HTTP."""
    return refusal(HTTPStatus.BAD_REQUEST, "malformed", text, CLOSE)


def head_too_large(head_bytes: int, headers: int) -> Refusal:
    """Return the response to a head beyond either limit."""
    return refusal(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "head_too_large",
        f"The request line and headers may have {head_bytes} bytes "
        f"(--max-header-bytes) and {headers} headers (--max-headers) at most: shorten "
        "the URL, or send fewer or shorter headers.",
        CLOSE,
    )
