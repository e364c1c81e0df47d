"""A body as the payload log has it: whole, or only its length and digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio import CapacityLimiter

ON_LOOP_BYTES = 1 << 18
"""Of a piece: up to this size it is hashed on the event loop, in half a millisecond."""

HEAD_LENGTH = b"inference-header-content-length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A body with its headers; `content` is `None` if it was too long to be kept.

    `head` is the length of the JSON that binary tensors follow.
    """

    content_type: str
    coding: str
    head: str
    nbytes: int
    digest: str
    content: bytes | None


class BodyNotes:
    """Notes on a body while it passes: its pieces, as far as they are to be kept."""

    def __init__(self, max_bytes: int, limiter: CapacityLimiter) -> None:
        self._max_bytes = max_bytes
        self._limiter = limiter
        self._pieces: list[bytes] = []
        self._digest = hashlib.sha256()
        self._nbytes = 0

    async def add(self, piece: bytes) -> None:
        """Note a piece; a long one is hashed in a thread of the limiter."""
        self._nbytes += len(piece)
        if len(piece) <= ON_LOOP_BYTES:
            self._digest.update(piece)
        else:
            await anyio.to_thread.run_sync(
                self._digest.update, piece, limiter=self._limiter
            )

        if self._nbytes > self._max_bytes:
            self._pieces.clear()
        else:
            self._pieces.append(bytes(piece))

    def body(self, headers: Mapping[bytes, bytes]) -> Body:
        """Return the body that was noted, of a message with these headers."""

        def text(name: bytes) -> str:
            return headers.get(name, b"").decode("latin-1")

        whole = self._nbytes <= self._max_bytes
        return Body(
            content_type=text(b"content-type"),
            coding=text(b"content-encoding"),
            head=text(HEAD_LENGTH),
            nbytes=self._nbytes,
            digest=self._digest.hexdigest(),
            content=b"".join(self._pieces) if whole else None,
        )
