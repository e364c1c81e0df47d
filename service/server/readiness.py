"""The readiness of an application, asked for without a connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

POLL_SECONDS = 0.1
MAX_SECONDS = 600.0


async def wait_until_settled(app: Any, go_on: Callable[[], bool]) -> None:
    """Wait until the application's models have loaded or failed, or `go_on` is false.

    Never longer than `MAX_SECONDS`: a server that answers some requests is better than
    one that answers none.
    """
    with anyio.move_on_after(MAX_SECONDS):
        # Asked again and again, since the application tells nobody.
        while go_on() and not await is_settled(app):  # noqa: ASYNC110
            await anyio.sleep(POLL_SECONDS)


async def is_settled(app: Any) -> bool:
    """Return what `/readyz` says of the models that it found at start."""
    body = b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal body
        body += message.get("body", b"")

    await app(_scope(), receive, send)
    document = json.loads(body)
    return document.get("settled") is True


def _scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/readyz",
        "raw_path": b"/readyz",
        "root_path": "",
        "query_string": b"",
        "headers": [],
        "server": None,
        "client": None,
        "state": {},
    }
