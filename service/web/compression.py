"""Compression of answers that a client accepts compressed, beside the event loop."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio import CapacityLimiter
    from flask import Request, Response

LEAST_BYTES = 1024
"""Shorter answers don't get much shorter."""

ON_LOOP_BYTES = 1 << 15
"""Up to this size an answer is compressed on the event loop: 0.5 ms at worst."""

# Of zlib's levels the fastest: higher ones take three times as long for a few per cent.
_LEVEL = 1
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_IDENTITY = "identity"


def accepted_coding(request: Request) -> str | None:
    """Return the coding that the client wants most, `None` for none.

    Of equally wanted ones the first counts.
    """
    # Sorted by quality already; a `*` isn't a wish for any.
    for coding, quality in request.accept_encodings:
        if quality > 0 and coding.lower() in (*_WINDOWS, _IDENTITY):
            return None if coding.lower() == _IDENTITY else coding.lower()

    return None


async def compress(
    response: Response, pieces: Sequence[bytes], coding: str, limiter: CapacityLimiter
) -> None:
    """Let a response have its `pieces` compressed, if they aren't short."""
    size = sum(map(len, pieces))
    if size < LEAST_BYTES:
        return

    if size <= ON_LOOP_BYTES:
        body = _compressed(pieces, coding)
    else:
        body = await anyio.to_thread.run_sync(
            _compressed, pieces, coding, limiter=limiter
        )

    response.set_data(body)
    response.headers["Content-Encoding"] = coding


def _compressed(pieces: Sequence[bytes], coding: str) -> bytes:
    stream = zlib.compressobj(_LEVEL, wbits=_WINDOWS[coding])
    return b"".join([*map(stream.compress, pieces), stream.flush()])
