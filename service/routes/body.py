"""The body of a request that should be JSON."""

from __future__ import annotations

from flask import g, request
from werkzeug.exceptions import UnsupportedMediaType

# TensorFlow Serving reads no Content-Type. What is sent where nobody chose one is
# taken for JSON: curl -d sends a form, a browser's fetch() plain text.
UNCHOSEN = frozenset({"", "application/x-www-form-urlencoded", "text/plain"})


def read_json_body() -> bytes:
    """The body, not yet parsed.

    Raises `UnsupportedMediaType`, and `RequestEntityTooLarge` at the application's
    limit, before more is read.
    """
    check_media_type()
    check_content_encoding()
    body = request.get_data(cache=False)
    g.bytes_in = len(body)
    return body


def check_media_type() -> None:
    if request.mimetype in UNCHOSEN or request.is_json:
        return

    raise UnsupportedMediaType(
        f"the body is of type {request.mimetype!r}: send JSON, with the header"
        " 'Content-Type: application/json'"
    )


def check_content_encoding() -> None:
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return

    raise UnsupportedMediaType(
        f"the body is encoded as {encoding!r}: send it without Content-Encoding"
    )
