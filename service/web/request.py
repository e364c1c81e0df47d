"""A request whose `MAX_CONTENT_LENGTH` also holds without a Content-Length."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import IO, Any, cast

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.utils import cached_property
from werkzeug.wsgi import LimitedStream

from service.web.context import current_application


class BoundedStream(LimitedStream):
    """A stream of at most `limit` bytes; raises `RequestEntityTooLarge` beyond."""

    # Werkzeug's own stream silently truncates a longer body in `read()`, and refuses
    # one of exactly the limit in `read(size)`. It also copies bodies three times.

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        super().__init__(stream, limit, is_max=True)

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0:
            return self.readall()

        return self._count(self._stream.read(min(size, self._read_limit)))

    def read1(self) -> bytes:
        """Return the next piece as it arrived, empty at the end."""
        read_piece = getattr(self._stream, "read1", self._stream.read)
        return self._count(read_piece(self._read_limit))

    def readall(self) -> bytes:
        return b"".join(iter(self.read1, b""))

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    @property
    def _read_limit(self) -> int:
        """Return the allowed size plus one byte, which tells that a body is longer."""
        return self.limit - self._pos + 1

    def _count(self, data: bytes) -> bytes:
        self._pos += len(data)
        if self._pos > self.limit:
            raise RequestEntityTooLarge()

        return data


@lru_cache(maxsize=1024)
def blueprint_names(endpoint: str) -> list[str]:
    """Return the names of an endpoint's blueprints, from the innermost outwards."""
    names = []
    while "." in endpoint:
        endpoint = endpoint.rpartition(".")[0]
        names.append(endpoint)

    return names


class BoundedRequest(Request):
    """A request whose `stream` is a `BoundedStream` if the server ends the input."""

    @property
    def blueprints(self) -> list[str]:
        # Called three times a request; Flask parses the endpoint each time.
        rule = self.url_rule
        return [] if rule is None else blueprint_names(rule.endpoint)

    def close(self) -> None:
        # Only files need closing, and there are none unless the form was parsed.
        if "files" in self.__dict__:
            super().close()

    @property
    def max_content_length(self) -> int | None:
        # Flask accesses its proxy twice: 9 function calls.
        if self._max_content_length is not None:
            return self._max_content_length

        try:
            application = current_application()
        except RuntimeError:
            return super().max_content_length

        limit: int | None = application.config["MAX_CONTENT_LENGTH"]
        return limit

    @max_content_length.setter
    def max_content_length(self, value: int | None) -> None:
        self._max_content_length = value

    @cached_property
    def content_length(self) -> int | None:
        """The size of the body in bytes, if the client sent it."""
        # Werkzeug's look-up of two headers takes 5 % of a fast request.
        length = self.environ.get("CONTENT_LENGTH", "")
        plain = length.isascii() and length.isdecimal()
        if not plain or "HTTP_TRANSFER_ENCODING" in self.environ:
            return super().content_length

        return int(length)

    @cached_property
    def stream(self) -> IO[bytes]:
        limit = self.max_content_length
        terminated = self.environ.get("wsgi.input_terminated")
        if limit is None or not terminated or self.shallow:
            return super().stream

        length = self.content_length
        if length is not None and length > limit:
            raise RequestEntityTooLarge()

        stream: IO[bytes] = self.environ["wsgi.input"]
        if length is not None and type(stream) is io.BytesIO:
            return stream

        return cast("IO[bytes]", BoundedStream(stream, limit))
