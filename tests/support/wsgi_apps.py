"""WSGI applications and bodies to put behind the bridge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]
TEXT = [("Content-Type", "text/plain")]


class Body:
    """A response body that counts how often it is closed."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.closed = 0
        self.pulled = 0
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        piece = next(self._pieces)
        self.pulled += 1
        if isinstance(piece, Exception):
            raise piece

        return piece

    def close(self) -> None:
        self.closed += 1


class ListBody(list[bytes]):
    closed = 0

    def close(self) -> None:
        self.closed += 1


def answering(body: Iterable[bytes], status: str = "200 OK") -> Application:
    def application(environ: Any, start_response: StartResponse) -> Iterable[bytes]:
        start_response(status, TEXT)
        return body

    return application
