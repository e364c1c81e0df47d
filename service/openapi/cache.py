"""The encoded document, made once for as long as what it describes stays the same."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.to_thread
import orjson

from service.openapi.document import openapi_document

if TYPE_CHECKING:
    from service.openapi.document import Described


class Encoded(NamedTuple):
    """The document as JSON, plain and compressed; `tag` changes with its content."""

    text: bytes
    zipped: bytes
    tag: str


class DocumentCache:
    """The last document of all models. To be used on the event loop's thread."""

    def __init__(self) -> None:
        self._lock = anyio.Lock()
        # One at a time, beside the event loop: that of hundreds of models takes long.
        self._limiter = anyio.CapacityLimiter(1)
        self._kept: tuple[Described, Encoded] | None = None

    async def kept(self, described: Described) -> Encoded:
        """Return the document of what is described, the last one if that is equal."""
        async with self._lock:
            if self._kept is None or not self._kept[0].same(described):
                self._kept = (described, await self.made(described))

            return self._kept[1]

    async def made(self, described: Described) -> Encoded:
        """Make a document that isn't kept."""
        return await anyio.to_thread.run_sync(_encode, described, limiter=self._limiter)


def _encode(described: Described) -> Encoded:
    text = orjson.dumps(openapi_document(described))
    # Without the time, so that equal documents are equal.
    zipped = gzip.compress(text, compresslevel=6, mtime=0)
    return Encoded(text, zipped, hashlib.sha256(text).hexdigest()[:32])
