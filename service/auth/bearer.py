"""Bearer tokens of the header `Authorization` (RFC 6750)."""

from __future__ import annotations


def bearer_token(header: bytes) -> bytes | None:
    """Return the token of a header of the scheme Bearer."""
    # Werkzeug's `request.authorization` reads a token with `=` inside as parameters.
    scheme, _, token = header.strip().partition(b" ")
    return (token.strip() or None) if scheme.lower() == b"bearer" else None
