"""Clients behind proxies: whose headers are believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from service.bridge.bridge import Receive, Scope, Send

    Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def behind_proxies(application: Application, proxies: Collection[str]) -> Application:
    """Return `application`, told its clients' addresses and schemes by `proxies`.

    Those are addresses and networks. `X-Forwarded-For` is read from its end, up to the
    first address that isn't one of them; others' headers change nothing.
    """
    wrapped: Any = ProxyHeadersMiddleware(cast("Any", application), list(proxies))
    # What is answered there asks for no address or scheme.
    wrapped.shortcut = getattr(application, "shortcut", None)
    return cast("Application", wrapped)
