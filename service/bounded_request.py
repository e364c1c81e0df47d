"""A Flask request whose `MAX_CONTENT_LENGTH` also holds without a Content-Length."""

from __future__ import annotations

from typing import IO, cast

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream


class BoundedStream(LimitedStream):
    """Reads at most `limit` bytes; raises `RequestEntityTooLarge` if there are more.

    Werkzeug's own stream cuts a longer body off without a word in `read()`, and refuses
    one of exactly the limit in `read(size)`.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        super().__init__(stream, limit, is_max=True)

    def on_exhausted(self) -> None:
        if self._stream.read(1):
            raise RequestEntityTooLarge()

    def readall(self) -> bytes:
        data = super().readall()
        if data and self.is_exhausted:
            self.on_exhausted()

        return data


class BoundedRequest(Request):
    """A request whose `stream` is a `BoundedStream` where the server ends the input."""

    @cached_property
    def stream(self) -> IO[bytes]:
        stream = super().stream
        limit = self.max_content_length
        if limit is None or not self.environ.get("wsgi.input_terminated"):
            return stream

        return cast("IO[bytes]", BoundedStream(self.environ["wsgi.input"], limit))
