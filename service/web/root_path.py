"""A prefix of all URLs, for a server behind a proxy that shares a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.bridge.bridge import Receive, Scope, Send

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]


P = TypeVar("P", str, bytes)


class RootPath:
    """Serves `application` below `prefix`, such as `/models`.

    A proxy may pass the prefix on or strip it; probes may leave it out. URLs in answers
    have it.
    """

    def __init__(self, application: Application, prefix: str) -> None:
        self._application = application
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path, raw = scope["path"], scope.get("raw_path") or b""
            scope = {
                **scope,
                "root_path": self._prefix,
                "path": _below(path, self._prefix),
                "raw_path": _below(raw, self._prefix.encode()),
            }

        await self._application(scope, receive, send)


def _below(path: P, prefix: P) -> P:
    slash = prefix[:1]
    return path[len(prefix) :] if path.startswith(prefix + slash) else path
