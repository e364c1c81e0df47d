"""Responses of Flask views: streams, files, bodies in memory."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from flask import Response, g, request, send_file, stream_with_context

from service.bridge.bridge import Bridge
from service.web.application import ConcurrentFlask
from tests.support.flask_clients import client_of, get
from tests.support.servers import HandDriven

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

variable: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.fixture
def app() -> ConcurrentFlask:
    return ConcurrentFlask(__name__)


async def test_stream_with_context(app: ConcurrentFlask) -> None:
    closed = []

    @app.get("/")
    async def view() -> Any:
        g.word = "hello"

        def pieces() -> Iterator[str]:
            yield request.path
            yield str(g.word)
            closed.append(threading.get_ident())

        return Response(stream_with_context(pieces()))

    assert (await get(app)).text == "/hello"
    assert closed != [threading.get_ident()]


async def test_file(app: ConcurrentFlask, tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(bytes(range(256)) * 200)

    @app.get("/")
    def view() -> Response:
        return send_file(path)

    async with client_of(app) as client:
        whole = await client.get("/")
        part = await client.get("/", headers={"range": "bytes=10-19999"})
        head = await client.head("/")

    assert whole.content == path.read_bytes()
    assert (part.status_code, part.content) == (206, path.read_bytes()[10:20000])
    assert (head.content, head.headers["content-length"]) == (b"", "51200")


async def test_body_in_memory_costs_no_thread(app: ConcurrentFlask) -> None:
    @app.get("/")
    async def view() -> str:
        return "x"

    bridge = Bridge(app)
    bridge.shared.stream_limiter.total_tokens = 0
    exchange = HandDriven(bridge)
    with anyio.fail_after(30):
        await exchange.run()

    assert exchange.body == b"x"
    assert len(exchange.sent) == 2


async def test_close_callbacks_run_once(app: ConcurrentFlask) -> None:
    closed = []

    @app.get("/")
    async def view() -> Response:
        response = Response("x")
        response.call_on_close(lambda: closed.append(variable.get()))
        variable.set("inside")
        return response

    await get(app)
    assert closed == ["inside"]
