"""Calls of a server from the command line: JSON in, JSON out, with time limits."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

CONNECT_SECONDS = 10.0
SHOWN_BYTES = 200


class CallFailed(Exception):
    """The server's refusal; `status` is HTTP's, the text the server's own."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Unreachable(Exception):
    """There was no answer, or none of a server such as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminClient:
    """A server at `url`, which may have a path. A call may take `timeout` seconds.

    The token goes to that server only: redirects are not followed. Raises `ValueError`
    where `url` is no HTTP URL.
    """

    url: str
    token: str | None = None
    timeout: float = 600.0

    def __post_init__(self) -> None:
        if not is_url(self.url):
            raise ValueError(
                f"{self.url!r} isn't a server's URL: give one as http://127.0.0.1:8501"
            )

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The answer's JSON object. Raises `CallFailed`, `Unreachable`."""
        connection = self._connection()
        try:
            status, text = self._exchange(connection, method, path, body)
        except TimeoutError:
            raise Unreachable(
                f"{self.url} gave no answer in time; what was asked may go on there"
            ) from None
        except (OSError, http.client.HTTPException) as exc:
            reason = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
            raise Unreachable(
                f"can't reach {self.url}: {reason}. Is a server there? Name another "
                "with --server or TANDEM_SERVER"
            ) from exc
        finally:
            connection.close()

        return self._read(status, text)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection: http.client.HTTPConnection = kind(
            host, parts.port, timeout=CONNECT_SECONDS
        )
        return connection

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Any,
    ) -> tuple[int, bytes]:
        connection.connect()
        connection.sock.settimeout(self.timeout)
        sent = None if body is None else json.dumps(body).encode()
        root = urlsplit(self.url).path.rstrip("/")
        connection.request(method, f"{root}{path}", body=sent, headers=self._headers())
        response = connection.getresponse()
        return response.status, response.read()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"

        return headers

    def _read(self, status: int, text: bytes) -> dict[str, Any]:
        try:
            document = json.loads(text)
        except ValueError:
            document = None

        if isinstance(document, dict) and status < 300:
            return document

        if isinstance(document, dict) and "error" in document:
            raise CallFailed(str(document["error"]), status)

        shown = text[:SHOWN_BYTES].decode("utf-8", "replace")
        raise Unreachable(
            f"{self.url} answered {status}, not as Tandem does: {shown!r}"
        )


def is_url(text: str) -> bool:
    """Whether it names a host by HTTP; a port, where there is one, is a number."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False

    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
