"""The bridge behind a real uvicorn."""

from __future__ import annotations

import asyncio
import resource
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import pytest
from flask import Flask, Response, g, request, send_file

from service.bridge.bridge import Bridge
from service.web.application import ConcurrentFlask
from tests.support.servers import Address, HttpName, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

CROWD = 1000
HAMMER = 3000
variable: ContextVar[str] = ContextVar("variable", default="unset")


class Room:
    """Views that wait for each other, on the server's loop."""

    def __init__(self) -> None:
        self.inside = 0
        self.open = anyio.Event()
        self.entered = threading.Event()
        self.cancelled = threading.Event()

    async def wait(self) -> None:
        self.inside += 1
        self.entered.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def add_views(app: Flask, room: Room) -> None:
    @app.get("/threads")
    async def threads() -> str:
        return str(threading.active_count())

    @app.get("/crowd")
    async def crowd() -> str:
        if room.inside == CROWD - 1:
            room.open.set()

        await room.wait()
        return str(threading.active_count())

    @app.get("/forever")
    async def forever() -> str:
        await room.wait()
        return ""

    @app.get("/state/<name>")
    async def state(name: str) -> list[str]:
        before = [variable.get(), g.get("name", "unset")]
        variable.set(name)
        g.name = name
        await asyncio.sleep(0)
        return [*before, variable.get(), g.name, request.path]


def add_uploads(app: Flask) -> None:
    @app.post("/length/<name>")
    async def length(name: str) -> list[str | int]:
        before = variable.get()
        variable.set(name)
        return [before, len(request.get_data())]

    @app.post("/length-def")
    def length_def() -> list[str | int]:
        before = variable.get()
        variable.set("def")
        return [before, len(request.get_data())]


def add_streams(app: Flask) -> None:
    @app.get("/broken-stream")
    async def broken_stream() -> Response:
        def pieces() -> Iterator[str]:
            yield "part"
            raise KeyError("broken")

        return Response(pieces(), headers={"X-Latin": "é"})

    @app.get("/file")
    async def file() -> Response:
        return send_file(__file__)

    @app.get("/stream")
    async def stream() -> Response:
        return Response(str(number) for number in range(10))


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture(params=["httptools", "h11"])
def http(request: pytest.FixtureRequest) -> HttpName:
    name: HttpName = request.param
    return name


@pytest.fixture
def server(room: Room, http: HttpName) -> Iterator[Address]:
    app = ConcurrentFlask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = 10_000_000
    add_views(app, room)
    add_uploads(app)
    add_streams(app)
    with serve(Bridge(app), http) as address:
        yield address


@pytest.fixture
async def client(server: Address) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(
        base_url=server.url, limits=limits, timeout=60
    ) as client:
        yield client


async def raw(server: Address, data: bytes) -> bytes:
    """Return all that the server sends after `data`, until it closes the connection."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_nothing_leaks_to_the_next_request(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        response = await client.get(f"/state/{name}")
        assert response.json() == ["unset", "unset", name, name, f"/state/{name}"]


async def big(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 50_000):
        yield b"x" * 50_000


@pytest.mark.parametrize("path", ["/length/name", "/length-def"])
async def test_big_bodies_leak_nothing(client: httpx.AsyncClient, path: str) -> None:
    for _ in range(3):
        response = await client.post(path, content=big(1_000_000))
        assert response.json() == ["unset", 1_000_000]

    assert (await client.get("/state/x")).json()[:2] == ["unset", "unset"]


async def test_too_large_chunked(client: httpx.AsyncClient) -> None:
    response = await client.post("/length/x", content=big(11_000_000))
    assert response.status_code == 413


async def test_too_large_by_length(server: Address) -> None:
    head = b"POST /length/x HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
    answer = await raw(server, head + b"Content-Length: 99999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_file_has_one_date(client: httpx.AsyncClient) -> None:
    response = await client.get("/file")

    assert response.status_code == 200
    assert len(response.headers.get_list("date")) == 1


async def test_head(client: httpx.AsyncClient) -> None:
    response = await client.head("/threads")
    assert (response.status_code, response.content) == (200, b"")
    assert (await client.get("/stream")).text == "0123456789"


async def test_a_failing_stream_closes_the_connection(
    client: httpx.AsyncClient,
) -> None:
    async with client.stream("GET", "/broken-stream") as response:
        assert response.headers["x-latin"] == "é"
        with pytest.raises(httpx.RemoteProtocolError):
            await response.aread()

    assert (await client.get("/stream")).text == "0123456789"


async def test_disconnect_cancels_the_view(
    server: Address, room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /forever HTTP/1.1\r\nHost: t\r\n\r\n")
    assert await anyio.to_thread.run_sync(room.entered.wait, 30)
    writer.close()
    await writer.wait_closed()
    assert await anyio.to_thread.run_sync(room.cancelled.wait, 30)
    assert [r for r in caplog.records if r.levelname == "ERROR"] == []


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CROWD + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip("the limit on open files is too low")

    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
@pytest.mark.parametrize("http", ["httptools"])
async def test_many_requests_wait_without_threads(
    server: Address, client: httpx.AsyncClient
) -> None:
    before = (await client.get("/threads")).text
    answers: list[bytes] = []

    async def wait() -> None:
        head = b"GET /crowd HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        answers.append(await raw(server, head))

    with anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            for _ in range(CROWD):
                group.start_soon(wait)

    assert len(answers) == CROWD
    assert {a.split(b"\r\n", 1)[0] for a in answers} == {b"HTTP/1.1 200 OK"}
    assert {a.rsplit(b"\r\n", 1)[1] for a in answers} == {before.encode()}


@pytest.mark.parametrize("http", ["httptools"])
async def test_many_requests_on_kept_connections(server: Address) -> None:
    bad: list[Any] = []

    async def hammer(number: int) -> None:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        for turn in range(HAMMER // 10):
            name = f"{number}-{turn}"
            writer.write(f"GET /state/{name} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            body = await reader.readexactly(length)
            if not head.startswith(b"HTTP/1.1 200 ") or body.count(name.encode()) != 3:
                bad.append((head, body))

        writer.close()
        await writer.wait_closed()

    with anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(hammer, number)

    assert bad == []
