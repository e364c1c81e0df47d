"""Reading of request bodies, most of which should be JSON."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from werkzeug.exceptions import UnsupportedMediaType

from service.web.context import current_globals, current_serving
from service.web.inflation import inflated

if TYPE_CHECKING:
    from flask import Request

    from service.web.body_budget import Reservation

JSON = "application/json"
# TensorFlow Serving ignores Content-Type. The types that clients send by default are
# taken for JSON: curl -d sends a form, a browser's fetch() plain text.
CLIENT_DEFAULTS = frozenset({"", "application/x-www-form-urlencoded", "text/plain"})

NOT_ENCODED = ("", "identity")

# Longer bodies aren't joined on the event loop, but read in pieces of this size.
CHUNK_BYTES = 1 << 18


def read_json_body(request: Request, reservation: Reservation) -> list[bytes]:
    """Return the unparsed body of `request` in pieces, adding them to `reservation`.

    A compressed body is inflated. Raise `UnsupportedMediaType`, `RequestEntityTooLarge`
    above the application's limits, and `BodiesFull` if the reservation is
    refused, before more is read.
    """
    # Nearly all requests send this, which two lookups tell; the checks cost 12 µs.
    environ = request.environ
    if environ.get("CONTENT_TYPE") != JSON:
        check_media_type(request)

    return read_body(request, reservation)


def read_body(request: Request, reservation: Reservation) -> list[bytes]:
    """Return the body in pieces, whatever its type; see `read_json_body`."""
    compressed = "HTTP_CONTENT_ENCODING" in request.environ and is_compressed(request)
    pieces = _read_pieces(request, reservation)
    current_globals().bytes_in = sum(map(len, pieces))
    return _inflate(pieces, reservation) if compressed else pieces


def _inflate(pieces: list[bytes], reservation: Reservation) -> list[bytes]:
    serving = current_serving()
    found = []
    for piece in inflated(pieces, serving.inflation, serving.rows_limiter):
        reservation.add(len(piece))
        found.append(piece)

    return found


def _read_pieces(request: Request, reservation: Reservation) -> list[bytes]:
    # Read first, because it refuses a body that is too large.
    stream = request.stream
    length = request.content_length
    if length is not None:
        reservation.add(length)

    if length is not None and length <= CHUNK_BYTES:
        return [stream.read()]

    # Not joined: they are joined, or passed on to a decoder process, later.
    read_piece = getattr(stream, "read1", None) or partial(stream.read, CHUNK_BYTES)
    pieces = []
    while piece := read_piece():
        if length is None:
            reservation.add(len(piece))

        pieces.append(piece)

    return pieces


def check_media_type(request: Request) -> None:
    if request.mimetype in CLIENT_DEFAULTS or request.is_json:
        return

    raise UnsupportedMediaType(
        f"the body is of type {request.mimetype!r}: send JSON, with the header"
        " 'Content-Type: application/json', arrays as application/x-npy or"
        " application/x-npz, an image as image/jpeg, image/png and so on, or rows as a"
        " job, with the header 'Prefer: respond-async'"
    )


def is_compressed(request: Request) -> bool:
    """Return whether the body is of gzip or deflate.

    Raise `UnsupportedMediaType` for another encoding.
    """
    encoding = _content_encoding(request)
    # TensorFlow Serving takes any encoding with "gzip" in its name.
    if "gzip" in encoding or encoding == "deflate":
        return True

    if encoding in NOT_ENCODED:
        return False

    raise UnsupportedMediaType(
        f"the body is encoded as {encoding!r}: send it as gzip or deflate, or without"
        " Content-Encoding"
    )


def check_content_encoding(request: Request) -> None:
    """Raise `UnsupportedMediaType` for a body that is encoded in any way."""
    encoding = _content_encoding(request)
    if encoding not in NOT_ENCODED:
        raise UnsupportedMediaType(
            f"the body is encoded as {encoding!r}: send it without Content-Encoding"
        )


def _content_encoding(request: Request) -> str:
    return request.headers.get("Content-Encoding", "").strip().lower()
