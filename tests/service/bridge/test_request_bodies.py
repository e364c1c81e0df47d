"""Uploads to views of both kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from flask import request

from service.bridge.bridge import Bridge
from service.web.application import ConcurrentFlask
from tests.support.flask_clients import client_of
from tests.support.servers import GONE, HandDriven, body_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.parametrize("kind", ["def", "async"])


@pytest.fixture
def app() -> ConcurrentFlask:
    return ConcurrentFlask(__name__)


def echo(app: ConcurrentFlask, kind: str) -> None:
    def read() -> str:
        return str(len(request.get_data()))

    async def read_async() -> str:
        return read()

    app.post("/")(read if kind == "def" else read_async)


async def test_chunked(app: ConcurrentFlask, kind: str) -> None:
    echo(app, kind)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"x" * 1000

    async with client_of(app) as client:
        response = await client.post("/", content=pieces())

    assert response.text == "10000"


async def test_form(app: ConcurrentFlask, kind: str) -> None:
    @app.post("/")
    async def view() -> list[str]:
        return [request.form["a"], request.files["f"].read().decode()]

    async with client_of(app) as client:
        response = await client.post("/", data={"a": "1"}, files={"f": b"file"})

    assert response.json() == ["1", "file"]


@pytest.mark.parametrize(
    ("headers", "most_received"),
    [
        pytest.param([(b"content-length", b"1000000")], 0, id="content-length"),
        pytest.param([(b"transfer-encoding", b"chunked")], 11, id="chunked"),
    ],
)
async def test_too_large(
    app: ConcurrentFlask, kind: str, headers: Any, most_received: int
) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 1000
    echo(app, kind)
    pieces = [body_message(b"x" * 100, more=True) for _ in range(1000)]
    exchange = HandDriven(Bridge(app), pieces, method="POST", headers=headers)
    await exchange.run()
    assert exchange.status == 413
    assert exchange.received <= most_received


async def test_client_gone_in_the_body(
    app: ConcurrentFlask, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    echo(app, kind)
    messages = [body_message(b"x", more=True), GONE]
    headers = [(b"transfer-encoding", b"chunked")]
    exchange = HandDriven(Bridge(app), messages, method="POST", headers=headers)
    await exchange.run()
    assert caplog.records == []


async def test_client_gone_while_the_body_is_awaited(
    app: ConcurrentFlask, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    echo(app, kind)
    messages = [body_message(b"x", more=True)]
    headers = [(b"transfer-encoding", b"chunked")]
    exchange = HandDriven(Bridge(app), messages, method="POST", headers=headers)
    async with anyio.create_task_group() as group:
        group.start_soon(exchange.run)
        await anyio.wait_all_tasks_blocked()
        exchange.put(GONE)

    assert caplog.records == []
