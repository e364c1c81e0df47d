"""JSON responses, and the response class that sends bodies in memory at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response

from service.telemetry.timing import TIMING_HEADER, VERSION_HEADER
from service.web.context import current_application

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from _typeshed.wsgi import WSGIEnvironment

READABLE = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE

# The usual headers and statuses here that Werkzeug never completes.
PLAIN = frozenset(
    {
        *("Content-Type", "X-Request-ID", "Retry-After", "Cache-Status", "Age"),
        *(TIMING_HEADER, VERSION_HEADER),
    }
)
BODIED = frozenset({200, 201, 202, 400, 404, 429, 500, 503, 504})


class InMemoryBody(list[bytes]):
    """A response body in memory: a list that can be closed."""

    def __init__(self, chunks: Iterable[bytes], close: Callable[[], None]) -> None:
        super().__init__(chunks)
        self.close = close


class DirectResponse(Response):
    """A response that gives the bridge a body in memory as a list, to send at once."""

    # Werkzeug wraps lists and generators into the same iterator, which the bridge would
    # have to pull in a thread.

    def get_app_iter(self, environ: WSGIEnvironment) -> Iterable[bytes]:
        # Not decided by Content-Length: files may have one, and reading them blocks.
        if not self.is_sequence or self.direct_passthrough:
            return super().get_app_iter(environ)

        # The bridge drops a body that HEAD or 204 forbids.
        return InMemoryBody(self._encoded(), self.close)

    def get_wsgi_response(
        self, environ: WSGIEnvironment
    ) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        # Werkzeug copies the headers to complete them: 7 µs where nothing is missing.
        headers = self.headers.to_wsgi_list()
        if not self._is_complete(headers):
            return super().get_wsgi_response(environ)

        return self.get_app_iter(environ), self.status, headers

    def _encoded(self) -> Iterable[bytes]:
        chunks = self.response
        # Most bodies are one piece of bytes, which needs no encoding.
        if type(chunks) is list and len(chunks) == 1 and type(chunks[0]) is bytes:
            return chunks

        return self.iter_encoded()

    def _is_complete(self, headers: list[tuple[str, str]]) -> bool:
        """Return whether Werkzeug would leave the headers as they are."""
        length = False
        for name, _ in headers:
            if name == "Content-Length":
                length = True
            elif name not in PLAIN:
                return False

        return length and self.status_code in BODIED


def encoded_json_response(text: bytes | list[bytes], status: int = 200) -> Response:
    """Return a response of encoded JSON, whole or in pieces."""
    return current_application().response_class(
        text, status=status, content_type="application/json"
    )


def json_response(value: Any, status: int = 200) -> Response:
    """Return a response of indented JSON with a newline at its end."""
    return encoded_json_response(readable(value), status)


def readable(value: Any) -> bytes:
    """Encode a value as indented JSON."""
    try:
        return orjson.dumps(value, option=READABLE)
    except orjson.JSONEncodeError:
        # The names of files that aren't UTF-8 contain lone surrogates.
        return json.dumps(value, indent=2).encode() + b"\n"
