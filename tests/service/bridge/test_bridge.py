from __future__ import annotations

import logging
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from service.bridge.bridge import LONG_BYTES, Bridge, grouped
from tests.support.servers import HandDriven, body_message
from tests.support.wsgi_apps import TEXT, Body, ListBody, StartResponse, answering

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@pytest.fixture(autouse=True)
def quiet_client(caplog: pytest.LogCaptureFixture) -> None:
    """Keep the client's own lines out of what a test finds logged."""
    caplog.set_level(logging.WARNING, logger="httpx")


async def get(application: Any, method: str = "GET", **kwargs: Any) -> httpx.Response:
    transport = httpx.ASGITransport(Bridge(application))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        return await client.request(method, "/", **kwargs)


async def drive(application: Any, *messages: Any, **scope: Any) -> HandDriven:
    exchange = HandDriven(Bridge(application), messages, **scope)
    await exchange.run()
    return exchange


@pytest.mark.parametrize("body", [[b"a", b"b"], (b"a", b"b"), [], ListBody([b"ab"])])
async def test_a_sequence_is_one_message(body: Iterable[bytes]) -> None:
    exchange = await drive(answering(body))
    assert len(exchange.sent) == 2
    assert exchange.body == b"".join(body)
    assert not exchange.sent[-1]["more_body"]


async def test_a_stream_is_a_message_a_piece() -> None:
    body = Body(b"a", b"", b"b")
    exchange = await drive(answering(body))
    assert [m["body"] for m in exchange.sent[1:]] == [b"a", b"b", b""]
    assert [m["more_body"] for m in exchange.sent[1:]] == [True, True, False]
    assert body.closed == 1


async def test_a_generator_application_may_start_late() -> None:
    def application(environ: Any, start_response: StartResponse) -> Iterator[bytes]:
        start_response("202 Accepted", TEXT)
        yield b"late"

    response = await get(application)
    assert (response.status_code, response.text) == (202, "late")


@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")],
)
@pytest.mark.parametrize("make", [Body, lambda *pieces: ListBody(pieces)])
async def test_a_body_is_dropped_where_http_forbids_one(
    method: str, status: str, make: Any
) -> None:
    body = make(b"body")
    exchange = await drive(answering(body, status), method=method)
    assert exchange.status == int(status[:3])
    assert exchange.body == b""
    assert body.closed == 1
    assert getattr(body, "pulled", 0) == 0


async def test_pieces_are_pulled_in_the_request_context() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def application(environ: Any, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", TEXT)
        variable.set("from the application")
        return pieces()

    def pieces() -> Iterator[bytes]:
        token = variable.set(variable.get() + "!")
        yield variable.get().encode()
        variable.reset(token)
        yield variable.get().encode()

    response = await get(application)
    assert response.text == "from the application!from the application"


async def test_a_slow_stream_leaves_the_loop_free() -> None:
    gate = threading.Event()

    def pieces() -> Iterator[bytes]:
        assert gate.wait(30)
        yield b"done"

    async with anyio.create_task_group() as group:
        group.start_soon(get, answering(pieces()))
        await anyio.wait_all_tasks_blocked()
        response = await get(answering([b"meanwhile"]))
        gate.set()

    assert response.text == "meanwhile"


class TestErrors:
    async def check_500(
        self, application: Any, log: pytest.LogCaptureFixture, **kwargs: Any
    ) -> None:
        response = await get(application, **kwargs)
        assert response.status_code == 500
        assert response.headers["content-type"] == "application/json"
        assert response.json() == {"error": "Internal server error."}
        (record,) = log.records
        assert (record.name, record.levelno) == ("tandem.bridge", logging.ERROR)
        assert record.exc_info

    async def test_before_the_answer(self, caplog: pytest.LogCaptureFixture) -> None:
        def application(environ: Any, start_response: StartResponse) -> list[bytes]:
            raise KeyError("broken")

        await self.check_500(application, caplog)

    async def test_before_the_first_byte(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        body = Body(b"", KeyError("broken"))
        await self.check_500(answering(body), caplog)
        assert body.closed == 1

    async def test_never_started(self, caplog: pytest.LogCaptureFixture) -> None:
        body = ListBody([b"x"])
        await self.check_500(lambda environ, start_response: body, caplog)
        assert body.closed == 1

    async def test_not_bytes(self, caplog: pytest.LogCaptureFixture) -> None:
        await self.check_500(answering(["text"]), caplog)  # type: ignore[list-item]

    async def test_header_not_latin_1(self, caplog: pytest.LogCaptureFixture) -> None:
        def application(environ: Any, start_response: StartResponse) -> list[bytes]:
            start_response("200 OK", [("X", "€")])
            return []

        await self.check_500(application, caplog)

    async def test_after_the_first_byte(self, caplog: pytest.LogCaptureFixture) -> None:
        body = Body(b"part", KeyError("broken"))
        exchange = HandDriven(Bridge(answering(body)))
        with pytest.raises(KeyError, match="broken"):
            await exchange.run()

        assert exchange.body == b"part"
        assert exchange.sent[-1]["more_body"]
        assert body.closed == 1
        assert [record.name for record in caplog.records] == ["tandem.bridge"]

    async def test_in_close(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(list[bytes]):
            def close(self) -> None:
                raise KeyError("broken")

        assert (await get(answering(Broken([b"whole"])))).text == "whole"
        assert "closing" in caplog.text

    async def test_header_repeated_too_often(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        response = await get(answering([]), headers=[("x", "1")] * 101)
        assert response.status_code == 400
        assert caplog.records == []


async def test_an_unread_body_is_not_received() -> None:
    messages = [body_message(b"x", more=True) for _ in range(100)]
    exchange = await drive(answering([b"no"]), *messages, method="POST")
    assert exchange.received == 0


async def test_a_body_is_received_as_it_is_read() -> None:
    received = []

    def application(environ: Any, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", TEXT)
        data = environ["wsgi.input"].read(3)
        received.append(exchange.received)
        return [data, environ["wsgi.input"].read()]

    messages = [body_message(b"ab", more=n < 4) for n in range(5)]
    exchange = HandDriven(Bridge(application), messages)
    await exchange.run()
    assert exchange.body == b"ab" * 5
    assert received == [2]


async def test_websockets_are_closed() -> None:
    connect = {"type": "websocket.connect"}
    exchange = await drive(answering([]), connect, type="websocket")
    assert exchange.sent == [{"type": "websocket.close", "code": 1000}]


async def test_other_scopes_are_refused() -> None:
    with pytest.raises(ValueError, match="'smtp'"):
        await drive(answering([]), type="smtp")


LONG = b"x" * LONG_BYTES


@pytest.mark.parametrize(
    ("chunks", "sent"),
    [
        pytest.param([], [b""], id="none"),
        pytest.param([b"a", b"b"], [b"ab"], id="short"),
        pytest.param([b"a", b"b", LONG, b"c"], [b"ab", LONG, b"c"], id="one long"),
        pytest.param([LONG, LONG], [LONG, LONG], id="long"),
    ],
)
def test_short_pieces_of_a_body_are_joined(
    chunks: list[bytes], sent: list[bytes]
) -> None:
    found = grouped(chunks)

    assert found == sent
    assert all(each is LONG for each in found if each == LONG)
