"""The X-Forwarded headers of named proxies, and of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from service.web.proxies import behind_proxies

if TYPE_CHECKING:
    from service.bridge.bridge import Receive, Scope, Send

PROXIES = ("10.0.0.0/8", "192.0.2.7", "2001:db8::/32")


async def seen(peer: str, **headers: str) -> tuple[str, str]:
    """Return the client's address and the scheme, as an application is told them."""
    found: dict[str, Any] = {}

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        found.update(scope)

    async def nothing(*_: Any) -> Any:
        raise AssertionError("nobody reads or answers here")

    scope = {
        "type": "http",
        "client": (peer, 4711),
        "scheme": "http",
        "headers": [
            (name.replace("_", "-").encode(), value.encode())
            for name, value in headers.items()
        ],
    }
    await behind_proxies(application, PROXIES)(scope, nothing, nothing)
    return found["client"][0], found["scheme"]


@pytest.mark.parametrize("peer", ["10.1.2.3", "192.0.2.7", "2001:db8::5"])
async def test_a_named_proxy_is_believed(peer: str) -> None:
    told = {"x_forwarded_for": "203.0.113.9", "x_forwarded_proto": "https"}

    assert await seen(peer, **told) == ("203.0.113.9", "https")


@pytest.mark.parametrize("peer", ["192.0.2.8", "127.0.0.1", "2001:db9::5"])
async def test_untrusted_peer_is_not_believed(peer: str) -> None:
    told = {"x_forwarded_for": "203.0.113.9", "x_forwarded_proto": "https"}

    assert await seen(peer, **told) == (peer, "http")


async def test_forged_forwarding_header_is_not_believed() -> None:
    client = "203.0.113.9"
    told = {"x_forwarded_for": f"127.0.0.1, {client}, 10.0.0.9"}

    assert await seen("10.1.2.3", **told) == (client, "http")
