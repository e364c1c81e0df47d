"""Compressed request bodies, inflated in pieces and within bounds."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from service.bridge.greenlets import in_bridge, run_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from anyio import CapacityLimiter

PIECE_BYTES = 1 << 16
"""Of an inflated piece: 0.1 to 0.3 ms."""

FREE_BYTES = 1 << 20
"""Up to this size a body may be compressed by any ratio: a few rows of zeros are."""

_ZLIB_OR_GZIP = zlib.MAX_WBITS | 32


class InflationLimits(NamedTuple):
    """Most bytes of an inflated body, and most for each byte that was sent."""

    max_bytes: int
    max_ratio: int


class Inflater:
    """Inflates one body of gzip or deflate, of several members too."""

    def __init__(self, limits: InflationLimits) -> None:
        self._limits = limits
        self._taken = self._given = 0
        self._member = zlib.decompressobj(_ZLIB_OR_GZIP)
        self._rest = b""
        self._held_back = False

    def feed(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._taken += len(piece)
        self._rest += piece

    @property
    def left(self) -> bool:
        """Return whether the pieces so far aren't inflated to their end."""
        return bool(self._rest) or self._held_back

    def inflate(self) -> bytes:
        """Return up to `PIECE_BYTES` more. Raise `BadRequest`, `TooLarge`."""
        if self._member.eof:
            self._member = zlib.decompressobj(_ZLIB_OR_GZIP)

        try:
            piece = self._member.decompress(self._rest, PIECE_BYTES)
        except zlib.error as exc:
            raise _wrong(f"isn't what its Content-Encoding says: {exc}") from None

        self._rest = self._member.unconsumed_tail or self._member.unused_data
        # A full piece may be all that there was room for.
        self._held_back = len(piece) == PIECE_BYTES and not self._member.eof
        self._given += len(piece)
        self._check()
        return piece

    def end(self) -> None:
        """Raise `BadRequest` if the body isn't whole."""
        if self._taken and not self._member.eof:
            raise _wrong("ends before its compressed data does")

    def _check(self) -> None:
        limits = self._limits
        if self._given > limits.max_bytes:
            raise TooLarge(
                f"the body is over the limit of {limits.max_bytes} bytes once it is"
                " inflated: send fewer rows at a time, or raise the limit with"
                " --max-inflated-bytes or TANDEM_MAX_INFLATED_BYTES"
            )

        if self._given > max(FREE_BYTES, self._taken * limits.max_ratio):
            raise TooLarge(
                f"the body inflates to more than {limits.max_ratio} times its size:"
                " send it without Content-Encoding, or raise the limit with"
                " --max-inflation-ratio or TANDEM_MAX_INFLATION_RATIO"
            )


class TooLarge(RequestEntityTooLarge):
    """An inflated body is over a limit; the description names it."""


def inflated(
    pieces: Iterable[bytes], limits: InflationLimits, limiter: CapacityLimiter
) -> Iterator[bytes]:
    """Yield the inflated body of `pieces`, each piece small.

    All but the first are inflated in a thread of `limiter`, beside the event loop.
    Raise `BadRequest` for a body that isn't whole, and `TooLarge`.
    """
    inflater = Inflater(limits)
    long = False

    for piece in pieces:
        inflater.feed(piece)
        while inflater.left:
            if long and in_bridge():
                yield run_in_thread(inflater.inflate, limiter)
            else:
                yield inflater.inflate()

            long = True

    inflater.end()


def _wrong(text: str) -> BadRequest:
    return BadRequest(f"the body {text}")
