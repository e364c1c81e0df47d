"""The WSGI side of a request: environ and start_response (PEP 3333)."""

from __future__ import annotations

import sys
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NoReturn

from service.server.overload import RECORD_REFUSAL

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping
    from types import TracebackType
    from typing import TypeAlias

    ExcInfo: TypeAlias = (
        tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None]
    )

DUPLICATE_HEADER_LIMIT = 100

RAW_PATH = "tandem.raw_path"
"""The environ's key of the path as the client sent it, if it is percent-encoded."""


API_KEY = "tandem.api_key"
"""Key in the ASGI scope and WSGI environ of the API key that a request was admitted by.

No client can set it. `None` stands for the server itself.
"""


class TooManyHeaders(ValueError):
    """A header was repeated more than `DUPLICATE_HEADER_LIMIT` times."""


def build_environ(scope: MutableMapping[str, Any], body: Any) -> dict[str, Any]:
    """Return the WSGI environ of an ASGI http scope, with `body` as its input.

    Raise `TooManyHeaders`. Strings are bytes decoded as Latin-1, as PEP 3333 demands.
    """
    script_name, path_info = _split_path(scope["path"], scope.get("root_path", ""))
    server = scope.get("server") or ("localhost", 80)
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": script_name,
        "PATH_INFO": path_info,
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if client := scope.get("client"):
        environ["REMOTE_ADDR"] = client[0]
        environ["REMOTE_PORT"] = str(client[1])

    if API_KEY in scope:
        environ[API_KEY] = scope[API_KEY]

    if RECORD_REFUSAL in scope:
        environ[RECORD_REFUSAL] = partial(scope[RECORD_REFUSAL], scope)

    # `PATH_INFO` can't tell an encoded slash from another.
    raw_path = scope.get("raw_path") or b""
    if b"%" in raw_path:
        environ[RAW_PATH] = raw_path.decode("latin-1")

    _add_headers(environ, scope["headers"])
    return environ


def _split_path(path: str, root_path: str) -> tuple[str, str]:
    if not root_path:
        return "", _wsgi_text(path)

    if path == root_path or path.startswith(root_path + "/"):
        path = path[len(root_path) :]

    return _wsgi_text(root_path), _wsgi_text(path)


def _wsgi_text(text: str) -> str:
    if text.isascii():
        return text

    return text.encode("utf-8", "replace").decode("latin-1")


def _add_headers(
    environ: dict[str, Any], headers: Iterable[tuple[bytes, bytes]]
) -> None:
    repeated: dict[str, int] = {}
    for name, value in headers:
        key = _environ_key(name)
        if key is None:
            continue

        text = value.decode("latin-1")
        if key in environ:
            _count(repeated, key)
            # RFC 6265, 5.4: cookies are the only list that a comma would break.
            separator = "; " if key == "HTTP_COOKIE" else ","
            text = f"{environ[key]}{separator}{text}"

        environ[key] = text


def _count(repeated: dict[str, int], key: str) -> None:
    repeated[key] = repeated.get(key, 1) + 1
    if repeated[key] > DUPLICATE_HEADER_LIMIT:
        raise TooManyHeaders(key)


@lru_cache(maxsize=256)
def _environ_key(name: bytes) -> str | None:
    """Return the key of a header, or `None` for a name with an underscore."""
    text = name.decode("latin-1").upper()
    # `X_Admin` and `X-Admin` would share a key, so a client could evade a proxy that
    # strips or sets one of them by sending the other.
    if "_" in text:
        return None

    key = text.replace("-", "_")
    if key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        return key

    return f"HTTP_{key}"


@lru_cache(maxsize=256)
def _sent_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


class ResponseHead:
    """The `start_response` of one request; holds status and headers until sent.

    The sender of `message()` sets `sent`.
    """

    def __init__(self) -> None:
        self.sent = False
        self._status: int | None = None
        self._headers: list[tuple[bytes, bytes]] = []

    def __call__(
        self,
        status: str,
        headers: list[tuple[str, str]],
        exc_info: ExcInfo | None = None,
    ) -> Any:
        if exc_info is None and self._status is not None:
            raise RuntimeError("start_response was called twice without exc_info")

        if exc_info is not None and exc_info[1] is not None and self.sent:
            raise exc_info[1].with_traceback(exc_info[2])

        # ASGI servers date each answer; uvicorn does so beside a date that is there.
        encoded = [
            (_sent_name(name), value.encode("latin-1"))
            for name, value in headers
            if name.lower() != "date"
        ]
        self._status, self._headers = int(status[:3]), encoded
        return _refuse_write

    @property
    def started(self) -> bool:
        return self._status is not None

    @property
    def bodyless(self) -> bool:
        """Return whether a response of this status never has a body."""
        status = self._status
        return status is not None and (status < 200 or status in (204, 304))

    def message(self) -> dict[str, Any]:
        """Return the ASGI message. Raise `RuntimeError` without a `start_response`."""
        if self._status is None:
            raise RuntimeError("The application never called start_response")

        return {
            "type": "http.response.start",
            "status": self._status,
            "headers": self._headers,
        }


def _refuse_write(data: bytes) -> NoReturn:
    raise RuntimeError("write() is not supported: return or yield the body instead")
