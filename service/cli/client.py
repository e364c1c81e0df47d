"""A client for the command line: JSON in, JSON or a file out, with time limits."""

from __future__ import annotations

import json
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

CONNECT_SECONDS = 10.0
SHOWN_BYTES = 200
ACCEPTED, NO_CONTENT = 202, 204
HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


class CallFailed(Exception):
    """The server refused, with its own text and the HTTP `status`."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Unreachable(Exception):
    """There was no answer, or not one of a Tandem server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The client's part of mutual TLS: PEM files; `key` may be in `cert`, too."""

    cert: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminClient:
    """A server at `url`, which may have a path; answers may take `timeout` seconds.

    Raises `ValueError` if `url` is not an HTTP URL, or the certificate unusable.
    """

    url: str
    token: str | None = None
    api_key: str | None = None
    certificate: Certificate | None = None
    timeout: float = 600.0

    def __post_init__(self) -> None:
        if not is_url(self.url):
            raise ValueError(
                f"{self.url!r} isn't a server's URL: give one as http://127.0.0.1:8501"
            )

        self._tls()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the answer's JSON object. Raise `CallFailed`, `Unreachable`."""
        content = None if body is None else json.dumps(body).encode()

        with self._exchange(method, path, content, headers) as response:
            return self._read(response.status_code, response.read())

    def upload(
        self, path: str, pieces: Iterable[bytes], headers: Mapping[str, str]
    ) -> dict[str, Any]:
        """POST a body in pieces. Return and raise as `call` does."""
        with self._exchange("POST", path, pieces, headers) as response:
            return self._read(response.status_code, response.read())

    def delete(self, path: str) -> None:
        """Raise as `call` does."""
        with self._exchange("DELETE", path) as response:
            if response.status_code != NO_CONTENT:
                self._read(response.status_code, response.read())

    def download(
        self, path: str, write: Callable[[bytes], object], *, wait: float
    ) -> bool:
        """Give an answer's body to `write`, in pieces; return `False` for a 202.

        The server waits `wait` seconds for what isn't there. Raise as `call` does.
        """
        headers = {"Prefer": f"wait={wait:g}", "Accept": "*/*"}

        with self._exchange("GET", path, None, headers) as response:
            if response.status_code >= 300:
                self._read(response.status_code, response.read())

            if response.status_code == ACCEPTED:
                return False

            for piece in response.iter_bytes():
                write(piece)

        return True

    @contextmanager
    def _exchange(
        self,
        method: str,
        path: str,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        try:
            with self._send(method, path, content, headers or {}) as response:
                yield response
        except httpx.TimeoutException:
            raise Unreachable(
                f"{self.url} gave no answer in time; it may still be working on"
                " the request"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise Unreachable(
                f"can't reach {self.url}: {_reason(exc).rstrip('.')}. {_advice(exc)}"
            ) from exc

    def _send(
        self,
        method: str,
        path: str,
        content: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str],
    ) -> AbstractContextManager[httpx.Response]:
        parts = urlsplit(self.url)
        root = parts.path.rstrip("/")
        url = parts._replace(path=f"{root}{path}", query="", fragment="").geturl()
        return httpx.stream(
            method,
            url,
            content=content,
            headers={**HEADERS, **headers},
            auth=self._authorize,
            timeout=httpx.Timeout(self.timeout, connect=CONNECT_SECONDS),
            verify=self._tls(),
            # A proxy, or a password of ~/.netrc, isn't meant for this server.
            trust_env=False,
            # The token must not go to another server.
            follow_redirects=False,
        )

    def _tls(self) -> ssl.SSLContext:
        # The machine's certificate authorities, not those that httpx brings.
        context = ssl.create_default_context()
        if self.certificate is None:
            return context

        try:
            context.load_cert_chain(self.certificate.cert, self.certificate.key)
        except OSError as exc:
            raise ValueError(
                f"the client's certificate {self.certificate.cert} can't be used: "
                f"{exc.strerror or exc}; name PEM files of a certificate and its key "
                "in TANDEM_CLIENT_CERT and TANDEM_CLIENT_KEY"
            ) from exc

        return context

    def _authorize(self, request: httpx.Request) -> httpx.Request:
        # As `auth`: among the headers, a user name in the URL would replace it.
        if self.token is not None:
            request.headers["Authorization"] = f"Bearer {self.token}"

        if self.api_key is not None:
            request.headers["X-API-Key"] = self.api_key

        return request

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


def _advice(error: Exception) -> str:
    # A port of TLS closes on a client without it, or without the certificate it wants.
    if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        return (
            "Does the port speak HTTPS, or want a client's certificate "
            "(TANDEM_CLIENT_CERT)?"
        )

    return "Is a server there? Name another with --server or TANDEM_SERVER"


def _reason(error: Exception) -> str:
    """Return the system's own words, where one of its errors is behind `error`."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror

        # Not `__cause__`: httpcore raises its errors anew, `from None`.
        cause = cause.__context__

    return str(error) or type(error).__name__


def is_url(text: str) -> bool:
    """Return whether `text` is an HTTP URL with a host and, if any, a valid port."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False

    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
