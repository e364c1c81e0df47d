"""The end of a server process, whatever its clients do."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from service.bridge.lifespan import run_lifespan
from service.server.limits import ConnectionLimits, is_ending
from service.server.process import RETIRE, StopTimes
from service.server.server import exit_status
from service.web.root_path import RootPath
from tests.service.server.test_connection import answer, huge, whole_body
from tests.service.server.test_protocol import read_answer
from tests.support.protocol_servers import connect, read_all, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.protocol_servers import Address

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
# Only the grace can end a connection in time.
PATIENT = ConnectionLimits(
    keep_alive_seconds=60, head_seconds=60, body_seconds=60, write_seconds=60
)


class Held:
    """An application whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._go_on = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/held":
            await answer(send, await whole_body(receive))
            return

        self._loop = asyncio.get_running_loop()
        gone = asyncio.ensure_future(self._gone(receive))
        self.begun.set()
        await self._go_on.wait()
        gone.cancel()
        await answer(send, b"done")

    async def _gone(self, receive: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

        self.cancelled.set()
        self._go_on.set()

    def let_go(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._go_on.set)


def refuses(address: Address) -> bool:
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        # It stood in line while the socket was closed.
        return False

    return False


def wait_until_closed(address: Address) -> None:
    while not refuses(address):
        pass


def test_requests_under_way_are_answered_before_the_end() -> None:
    """The Open Inference Protocol's conformance case 81."""
    app = Held()
    with (
        running(app, PATIENT) as (address, server),
        connect(address) as idle,
        connect(address) as busy,
    ):
        idle.sendall(GET % b"short")
        read_answer(idle)
        busy.sendall(GET % b"held")
        app.begun.wait(30)
        server.should_exit = True
        assert idle.recv(1) == b""
        wait_until_closed(address)
        app.let_go()
        head, _, body = read_all(busy).partition(b"\r\n\r\n")

    assert (head[:12], body) == (b"HTTP/1.1 200", b"done")
    assert b"connection: close" in head.lower()


def test_stream_with_a_copied_scope_ends_with_the_server() -> None:
    begun = threading.Event()

    async def events(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        while not is_ending(scope):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

        await answer(send, b"over")

    with (
        running(RootPath(events, "/ml"), PATIENT) as (address, server),
        connect(address) as client,
    ):
        client.sendall(GET % b"ml/events")
        assert begun.wait(30)
        server.should_exit = True
        head, _, body = read_all(client).partition(b"\r\n\r\n")

    assert (head[:12], body) == (b"HTTP/1.1 200", b"over")


def test_request_that_outlasts_the_grace_is_refused() -> None:
    """The Open Inference Protocol's conformance case 82."""
    app = Held()
    with (
        running(app, PATIENT, StopTimes(grace=0.1)) as (address, server),
        connect(address) as busy,
    ):
        busy.sendall(GET % b"held")
        app.begun.wait(30)
        server.should_exit = True
        head, _, body = read_all(busy).partition(b"\r\n\r\n")
        # The request is told that its client is served no more.
        assert app.cancelled.wait(30)

    assert head.startswith(b"HTTP/1.1 503 ")
    assert "--grace" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHo", id="half a head"),
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 999999\r\n\r\nx", id="half an upload"
        ),
        pytest.param(GET % b"huge", id="an answer that nobody reads"),
    ],
)
def test_no_client_holds_the_end(sent: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/huge":
            await huge(scope, receive, send)
        else:
            await answer(send, await whole_body(receive))

    with ExitStack() as exits:
        # Open until the server has ended, whose block is the inner one.
        client = exits.enter_context(socket.socket())
        client.settimeout(30)

        with running(app, PATIENT, StopTimes(grace=0.1)) as (address, server):
            client.connect(address)
            client.sendall(sent)
            if b"huge" in sent:
                client.recv(1)

            server.should_exit = True


class Background:
    """An application with a task in the background, which fails when it is told to."""

    def __init__(self) -> None:
        self.fail = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(self._life, receive, send)
        else:
            self.fail.set()
            await answer(send, await whole_body(receive))

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._work)
            yield

    async def _work(self) -> None:
        await anyio.to_thread.run_sync(self.fail.wait)
        raise RuntimeError("the scanner is broken")


def test_a_server_whose_background_work_failed_ends() -> None:
    with (
        running(Background(), PATIENT, lifespan="on") as (address, server),
        connect(address) as client,
    ):
        client.sendall(GET % b"")
        read_answer(client)
        assert client.recv(1) == b""
        wait_until_closed(address)

    assert server.broken
    assert exit_status(server) == 1


def test_while_draining_all_are_served_and_readiness_is_down() -> None:
    with (
        running(Held(), PATIENT, StopTimes(drain=0.5)) as (address, server),
        connect(address) as old,
    ):
        old.sendall(GET % b"readyz")
        assert read_answer(old)[0].startswith(b"HTTP/1.1 200 ")
        server.handle_exit(signal.SIGTERM, None)

        down = ask(old, b"readyz")
        new = ask(connect(address), b"short")
        alive = ask(connect(address), b"livez")
        wait_until_closed(address)

    assert down.startswith(b"HTTP/1.1 503 ")
    assert json.loads(down.partition(b"\r\n\r\n")[2])["ready"] is False
    for each in (new, alive):
        assert each.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in each.lower()


def test_a_retiring_worker_stays_ready_and_answers_its_clients() -> None:
    app = Held()
    with (
        running(app, PATIENT) as (address, server),
        connect(address) as old,
        connect(address) as idle,
    ):
        for client in (old, idle):
            client.sendall(GET % b"short")
            read_answer(client)

        server.handle_exit(RETIRE, None)
        wait_until_closed(address)
        ready = ask(old, b"readyz")
        answered = ask(idle, b"short")

    for each in (ready, answered):
        assert each.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in each.lower()


def ask(client: socket.socket, path: bytes) -> bytes:
    """Return all that is answered until the server closes the connection."""
    with client:
        client.sendall(GET % path)
        return read_all(client)
