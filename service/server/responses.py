"""Responses that the server itself gives, as bytes."""

from __future__ import annotations

import json
from http import HTTPStatus

CLOSE = "connection: close"


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


BUSY = raw_json_response(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The server is busy: more requests arrive than it can start. Send this one again "
    "after the seconds in Retry-After.",
    "retry-after: 1",
)
NO_ROOM = raw_json_response(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The server has as many busy connections as it may (--max-connections). Connect "
    "again after the seconds in Retry-After.",
    "retry-after: 1",
    CLOSE,
)
STOPPING = raw_json_response(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "The server is stopping, and this request's time to end (--grace) is over. Send it "
    "to another server.",
    "retry-after: 1",
    CLOSE,
)
NOT_READY = raw_response(
    HTTPStatus.SERVICE_UNAVAILABLE, {"ready": False, "stopping": True}, CLOSE
)
HEAD_TOO_SLOW = raw_json_response(
    HTTPStatus.REQUEST_TIMEOUT,
    "The request's headers took too long to arrive (--header-timeout).",
    CLOSE,
)
BODY_TOO_SLOW = raw_json_response(
    HTTPStatus.REQUEST_TIMEOUT,
    "The request's body stopped arriving, or came too slowly (--body-timeout).",
    CLOSE,
)
NO_TUNNELS = raw_json_response(
    HTTPStatus.NOT_IMPLEMENTED, "CONNECT is not supported: this is no proxy.", CLOSE
)


def head_too_large(head_bytes: int, headers: int) -> bytes:
    """Return the response to a head beyond either limit."""
    return raw_json_response(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"The request line and headers may have {head_bytes} bytes "
        f"(--max-header-bytes) and {headers} headers (--max-headers) at most: shorten "
        "the URL, or send fewer or shorter headers.",
        CLOSE,
    )
