"""Predictions answered on their connection, without a task: as through Flask."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import anyio
import anyio.lowlevel
import pytest
import uvicorn
from structlog.testing import capture_logs

from inference import ModelSpec
from service.bridge.bridge import Bridge
from service.server.connection import Connection
from service.server.limits import ConnectionLimits, Connections
from service.server.overload import StartLimiter
from service.server.protocol import JsonErrorProtocol
from service.server.short import ShortExchange
from service.web.cors import CrossOrigin
from service.web.direct import DirectDispatcher
from service.web.proxies import behind_proxies
from service.web.root_path import RootPath
from tests.support.predict_requests import (
    BAD,
    GOOD,
    HEADERS,
    ONE_ROW,
    OPTIONED,
    PATH,
    PATHS,
    comparable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from service.web.application import ConcurrentFlask
    from tests.support.shelf import FakeLoader, Shelved

# Without a length that isn't the body's, and with characters that URLs have.
SENT_HEADERS = [each for each in HEADERS if not {"content-length", "expect"} & {*each}]
SENT_PATHS = [path for path in PATHS if path.isascii()]


@dataclass
class Client:
    """A kept connection to a server in the same event loop."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(
        self,
        body: bytes = ONE_ROW,
        path: str = PATH,
        headers: dict[str, str] | None = None,
        pieces: int = 1,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body, as far as they are always the same."""
        await self.send(request_of(body, path, headers or {}), pieces)
        return await self.answer(headers)

    async def send(self, whole: bytes, pieces: int = 1) -> None:
        size = -(-len(whole) // pieces)
        for start in range(0, len(whole), size):
            self.writer.write(whole[start : start + size])
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(
        self, sent: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        with anyio.fail_after(30):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")[:-2]
            found = dict(line.split(": ", 1) for line in lines)
            assert len(found) == len(lines)
            body = await self.reader.readexactly(int(found["content-length"]))

        for name in ("date", "server"):
            found.pop(name, None)

        return int(first.split()[1]), comparable(found, sent or {}), body


def request_of(body: bytes, path: str, headers: dict[str, str]) -> bytes:
    fields = {
        "host": "tandem",
        "content-type": "application/json",
        "content-length": str(len(body)),
    } | headers
    lines = [f"POST {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Serving:
    """An application on a real socket, in this event loop."""

    def __init__(self, app: ConcurrentFlask, port: int, state: Connections) -> None:
        self.app = app
        self.port = port
        self.state = state

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def listening(
    app: ConcurrentFlask,
    around: Callable[[Any], Any] = Bridge,
    protocol: type[JsonErrorProtocol] = JsonErrorProtocol,
) -> AsyncIterator[Serving]:
    config = uvicorn.Config(around(app), lifespan="off", proxy_headers=False)
    config.load()
    state = Connections(ConnectionLimits())
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: protocol(config, state, {}), "127.0.0.1", 0
    )
    try:
        yield Serving(app, server.sockets[0].getsockname()[1], state)
    finally:
        server.close()
        for each in state.all():
            each.transport.abort()

        await server.wait_closed()


async def held(client: Client, loader: FakeLoader, before: int = 1) -> Shelved:
    """Send one more request, which the model answers once it is let through."""
    for _ in range(before):
        assert (await client.ask())[0] == 200

    servable = loader.latest("a")
    servable._allowed = before
    await client.send(request_of(ONE_ROW, PATH, {}))
    await servable.until_ran(before + 1)
    return servable


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies of requests that were answered without a task."""
    bodies: list[bytes] = []
    begin, decline = DirectDispatcher.begin, ShortExchange.decline

    def begun(self: DirectDispatcher, head: Any, exchange: ShortExchange) -> None:
        bodies.append(bytes(exchange.body))
        begin(self, head, exchange)

    def declined(self: ShortExchange) -> None:
        bodies.pop()
        decline(self)

    monkeypatch.setattr(DirectDispatcher, "begin", begun)
    monkeypatch.setattr(ShortExchange, "decline", declined)
    return bodies


async def test_all_ways_answer_alike(make: Callable[..., Any]) -> None:
    requests: list[tuple[bytes, str, dict[str, str]]]
    requests = [(body, PATH, {}) for body in (*GOOD, *OPTIONED, *BAD)]
    requests += [(ONE_ROW, path, {}) for path in SENT_PATHS]
    requests += [(ONE_ROW, PATH, headers) for headers in SENT_HEADERS]

    async with (
        make(max_body_bytes=50_000) as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        for each in requests:
            app.dispatches_otherwise = False
            first = await client.ask(*each)
            again = await client.ask(*each)
            unparsed = await client.ask(*each)
            in_pieces = await client.ask(*each, pieces=3)
            app.dispatches_otherwise = True
            answers = (again, unparsed, in_pieces, await client.ask(*each))
            assert all(first == answer for answer in answers), each


def infer_body(*numbers: Any, **more: Any) -> bytes:
    values = {"name": "x", "shape": [len(numbers), 1], "datatype": "FP32"}
    return json.dumps({"inputs": [{**values, "data": numbers}], **more}).encode()


INFER = "/v2/models/a/infer"
INFER_BODIES = [
    infer_body(1.5),
    infer_body(1, 2, 3, id="mine"),
    infer_body(*[0.5] * 12_000),
    infer_body(1.5, outputs=[{"name": "y"}]),
    infer_body(1.5, outputs=[{"name": "y", "parameters": {"binary_data": True}}]),
    infer_body("a"),
    infer_body(-2),
    infer_body(),
    b"{",
]


async def test_all_ways_of_the_second_protocol_answer_alike(
    make: Callable[..., Any], short: list[bytes]
) -> None:
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        for body in INFER_BODIES:
            app.dispatches_otherwise = False
            first = await client.ask(body, INFER)
            in_pieces = await client.ask(body, INFER, pieces=3)
            app.dispatches_otherwise = True
            assert first == in_pieces == await client.ask(body, INFER), body[:99]

    assert {*INFER_BODIES[:4]} <= {*short}


@pytest.mark.parametrize("pieces", [1, 2, 5, 40])
async def test_rows_are_answered_without_a_task(
    make: Callable[..., Any], short: list[bytes], through_flask: list[str], pieces: int
) -> None:
    long = b'{"instances": [%b[1.5]]}' % (b"[1.5]," * 12_000)
    bodies = [*GOOD[:4], long]
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        for body in bodies:
            status, headers, answer = await client.ask(body, pieces=pieces)
            assert (status, headers["x-model-version"]) == (200, "1")
            assert json.loads(answer)["predictions"]

    assert short == bodies
    assert through_flask == []


@pytest.mark.parametrize(
    ("head", "way"),
    [
        pytest.param(b"POST /v1/models/a:predict HTTP/1.1", "short", id="usual"),
        pytest.param(b"POST /v1/models/a:predict HTTP/1.0", "long", id="HTTP 1.0"),
        pytest.param(
            b"POST /v1/models/a:predict HTTP/1.0\r\nconnection: keep-alive",
            "long",
            id="HTTP 1.0, kept",
        ),
        pytest.param(b"POST /v1/models/a:predict?a=1 HTTP/1.1", "long", id="query"),
        pytest.param(b"POST /v1/models/%61:predict HTTP/1.1", "long", id="escaped"),
        pytest.param(b"PUT /v1/models/a:predict HTTP/1.1", "long", id="method"),
        pytest.param(
            b"POST /v1/models/a:predict HTTP/1.1\r\nconnection: close",
            "long",
            id="closed",
        ),
    ],
)
async def test_other_requests_take_the_long_way(
    make: Callable[..., Any], short: list[bytes], head: bytes, way: str
) -> None:
    whole = request_of(ONE_ROW, PATH, {})
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        await client.send(head + whole[whole.index(b"\r\n") :])
        status, _, _ = await client.answer()

    assert status in (200, 405)
    assert short == ([ONE_ROW] if way == "short" else [])


@pytest.mark.parametrize(
    ("around", "way"),
    [
        pytest.param(lambda each: behind_proxies(each, ["127.0.0.1"]), "short"),
        pytest.param(lambda each: CrossOrigin(each, ["https://a.example"]), "long"),
        pytest.param(lambda each: RootPath(each, "/v1"), "long"),
    ],
    ids=["proxies", "CORS", "root path"],
)
async def test_middleware_sees_the_requests_it_must(
    make: Callable[..., Any],
    short: list[bytes],
    around: Callable[[Any], Any],
    way: str,
) -> None:
    headers = {"x-forwarded-for": "10.0.0.1", "origin": "https://a.example"}
    async with (
        make() as (app, _),
        listening(app, lambda each: around(Bridge(each))) as server,
        server.client() as client,
    ):
        await client.ask(headers=headers)

    assert short == ([ONE_ROW] if way == "short" else [])


async def test_limit_that_was_lowered_holds_for_a_head_seen_before(
    make: Callable[..., Any],
) -> None:
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        assert [(await client.ask())[0] for _ in range(3)] == [200] * 3
        app.config["MAX_CONTENT_LENGTH"] = 5
        assert (await client.ask())[0] == 413


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pieces that the parser was given."""
    pieces: list[bytes] = []
    parse = Connection._parse

    def recorded(self: Connection, data: bytes | memoryview) -> None:
        pieces.append(bytes(data))
        parse(self, data)

    monkeypatch.setattr(Connection, "_parse", recorded)
    return pieces


KNOWN = 3
"""Requests until the server knows their head."""


async def ask_known(client: Client) -> None:
    for _ in range(KNOWN):
        assert (await client.ask())[0] == 200


async def test_head_that_any_connection_repeated_isnt_parsed_again(
    make: Callable[..., Any], short: list[bytes], parsed: list[bytes]
) -> None:
    other = ONE_ROW.replace(b"1.5", b"2.5")
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
        server.client() as newcomer,
    ):
        await ask_known(client)
        assert len(parsed) == 2
        status, headers, body = await newcomer.ask(other)

    assert (status, headers["x-model-version"]) == (200, "1")
    assert json.loads(body) == {"predictions": [[5.0]]}
    assert short[-1] == other
    assert len(parsed) == 2


WHOLE = request_of(ONE_ROW, PATH, {})
LONGER = request_of(ONE_ROW + b" ", PATH, {})


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        pytest.param([WHOLE + WHOLE], [200, 200], id="two at once"),
        pytest.param([WHOLE + WHOLE[:9], WHOLE[9:]], [200, 200], id="one and a part"),
        pytest.param([WHOLE[:40], WHOLE[40:]], [200], id="in the head"),
        pytest.param([WHOLE[:-5], WHOLE[-5:] + WHOLE], [200, 200], id="in the body"),
        pytest.param(
            [WHOLE[:-5], WHOLE[-5:]] * 3, [200, 200, 200], id="in the body, again"
        ),
        pytest.param([WHOLE[: -len(ONE_ROW)], ONE_ROW], [200], id="head alone"),
        pytest.param([LONGER, WHOLE], [200, 200], id="another length"),
        pytest.param([b"\r\n" + WHOLE, WHOLE], [200, 200], id="blank line before"),
        pytest.param([WHOLE + b"\r\n\r\n", WHOLE], [200, 200], id="blank lines after"),
        pytest.param([WHOLE + b"\0"], [200], id="rubbish after"),
        pytest.param(
            [b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n", WHOLE, WHOLE],
            [200, 200, 200],
            id="after another method",
        ),
    ],
)
@pytest.mark.parametrize("fresh", [False, True], ids=["same connection", "fresh one"])
async def test_bytes_that_arrive_otherwise_are_read_as_ever(
    make: Callable[..., Any], sent: list[bytes], statuses: list[int], *, fresh: bool
) -> None:
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as first,
        server.client() as second,
    ):
        await ask_known(first)
        client = second if fresh else first
        for piece in sent:
            await client.send(piece)
            # So that the server has read it before the next.
            assert await first.ask(ONE_ROW + b"  ") if fresh else True

        assert [(await client.answer())[0] for _ in statuses] == statuses


class Crowded(JsonErrorProtocol):
    """Has more connections than allowed, if so told."""

    crowded: ClassVar[bool] = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.surplus = self.crowded


class Late(JsonErrorProtocol):
    """Has so many requests to start that one more would wait for too long."""

    start_limiter = StartLimiter()


async def test_known_head_is_refused_on_a_surplus_connection(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make() as (app, _), listening(app, protocol=Crowded) as server:
        async with server.client() as client:
            await ask_known(client)

        monkeypatch.setattr(Crowded, "crowded", True)
        monkeypatch.setattr(Connections, "has_room", lambda _: False)
        async with server.client() as client:
            status, headers, _ = await client.ask()

    assert (status, headers["connection"]) == (503, "close")


async def test_known_head_is_refused_where_it_would_wait_for_too_long(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        make() as (app, _),
        listening(app, protocol=Late) as server,
        server.client() as client,
    ):
        await ask_known(client)
        monkeypatch.setattr(Late.start_limiter, "max_queue", 0)
        assert (await client.ask())[0] == 503


async def test_known_head_is_the_last_of_a_server_that_stops(
    make: Callable[..., Any],
) -> None:
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        await ask_known(client)
        server.state.stopping = True
        status, headers, _ = await client.ask()
        assert (status, headers["connection"]) == (200, "close")


async def test_known_head_waits_for_what_arrived_before_it(
    make: Callable[..., Any],
) -> None:
    bodies = [ONE_ROW.replace(b"1.5", number) for number in (b"2.5", b"3.5")]
    before, after = (request_of(body, PATH, {}) for body in bodies)
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        await ask_known(client)
        [connection] = server.state.all()
        connection._unparsed = before
        connection.data_received(after)
        answers = [json.loads((await client.answer())[2]) for _ in bodies]

    assert answers == [{"predictions": [[5.0]]}, {"predictions": [[7.0]]}]


async def test_known_head_of_a_client_that_doesnt_read_takes_the_long_way(
    make: Callable[..., Any], short: list[bytes]
) -> None:
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        await ask_known(client)
        [connection] = server.state.all()
        # As its transport says of a full buffer.
        connection.pause_writing()
        await client.send(WHOLE)
        with anyio.fail_after(30):
            while connection._is_idle():
                await anyio.lowlevel.checkpoint()

        connection.resume_writing()
        assert (await client.answer())[0] == 200

    assert len(short) == KNOWN


async def test_connection_of_a_known_head_is_busy(make: Callable[..., Any]) -> None:
    async with (
        make() as (app, loader),
        listening(app) as server,
        server.client() as client,
    ):
        servable = await held(client, loader, KNOWN)
        # So it isn't closed to make room for another.
        assert not server.state._idle
        servable.let_through()
        assert (await client.answer())[0] == 200


async def test_known_head_is_refused_like_any_other(
    make: Callable[..., Any], short: list[bytes]
) -> None:
    async with (
        make() as (app, loader),
        listening(app) as server,
        server.client() as first,
        server.client() as client,
    ):
        app.extensions["serving"].engine.limit_queues(0)
        servable = await held(first, loader, KNOWN)
        # By the application, then unseen by it.
        refused = [await client.ask() for _ in range(2)]
        assert len(short) == KNOWN + 2
        servable.let_through()
        assert (await first.answer())[0] == (await client.ask())[0] == 200

    assert [status for status, _, _ in refused] == [429, 429]
    assert json.loads(refused[0][2]) == json.loads(refused[1][2])


async def test_a_request_counts_once_against_a_quota(
    make: Callable[..., Any], keys_file: Any
) -> None:
    headers = {"x-api-key": "for-one-request-"}
    async with (
        make(api_keys_file=keys_file) as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        answers = [await client.ask(headers=headers) for _ in range(4)]
        other, _, _ = await client.ask(headers={"x-api-key": "for-other-models"})
        declined, _, _ = await client.ask(
            OPTIONED[0], headers={"x-api-key": "for-every-model"}
        )

    assert [status for status, _, _ in answers] == [200, 429, 429, 429]
    assert (other, declined) == (403, 200)


async def test_pipelined_requests_are_answered_in_order(
    make: Callable[..., Any], short: list[bytes]
) -> None:
    bodies = [b'{"instances": [[%d]]}' % number for number in range(20)]
    bodies[5] = OPTIONED[0]
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        await client.send(b"".join(request_of(body, PATH, {}) for body in bodies))
        answers = [await client.answer() for _ in bodies]

    values = [json.loads(body)["predictions"][0][0] for _, _, body in answers]
    assert values == [3.0 if n == 5 else 2.0 * n for n in range(20)]
    assert short


class InTurn(JsonErrorProtocol):
    """Lets each request wait for its turn."""

    def start_soon(self, function: Callable[[], None]) -> None:
        self.loop.call_soon(function)


async def test_request_that_is_declined_in_its_turn_takes_nothing_of_the_next(
    make: Callable[..., Any], through_flask: list[str]
) -> None:
    first, second = (request_of(body, PATH, {}) for body in (OPTIONED[0], ONE_ROW))
    async with (
        make() as (app, _),
        listening(app, protocol=InTurn) as server,
        server.client() as client,
    ):
        client.writer.write(first + second[:-5])
        assert (await client.answer())[0] == 200
        client.writer.write(second[-5:])
        assert (await client.answer())[0] == 200

    assert through_flask[0] == PATH


async def test_request_ends_when_its_client_has_gone(make: Callable[..., Any]) -> None:
    async with make() as (app, loader), listening(app) as server:
        async with server.client() as client:
            servable = await held(client, loader)
            with capture_logs() as lines:
                client.writer.close()
                with anyio.fail_after(30):
                    while not lines:
                        await anyio.lowlevel.checkpoint()

        engine = app.extensions["serving"].engine
        assert engine.models()[0].queue.orphans == 1
        servable.let_through()

    [line] = [each for each in lines if each["event"] == "request"]
    assert (line["status"], line["model"]) == (499, "a")


async def test_client_that_goes_before_its_body_is_whole_is_counted(
    make: Callable[..., Any], short: list[bytes]
) -> None:
    async with make() as (app, _), listening(app) as server:
        async with server.client() as client:
            await client.ask()
            await client.send(request_of(ONE_ROW, PATH, {})[:-4])

        with anyio.fail_after(30):
            while server.state.connections:
                await anyio.lowlevel.checkpoint()

        figures = app.extensions["serving"].requests.figures()

    assert figures["tandem_requests"]["a", "1", "v1", "499"] == 1
    assert len(short) == 1


async def test_answer_closes_the_connection_of_a_server_that_stops(
    make: Callable[..., Any], short: list[bytes]
) -> None:
    async with make() as (app, loader), listening(app) as server:
        async with server.client() as client:
            servable = await held(client, loader)
            for each in server.state.all():
                each.shutdown()

            servable.let_through()
            status, headers, _ = await client.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert await client.reader.read() == b""

    assert len(short) == 2


async def test_server_that_must_end_refuses_what_runs(make: Callable[..., Any]) -> None:
    async with make() as (app, loader), listening(app) as server:
        async with server.client() as client:
            servable = await held(client, loader)
            for each in server.state.all():
                each.end()

            status, _, _ = await client.answer()
            servable.let_through()

    assert status == 503


async def test_client_that_ends_sending_gets_its_answer(
    make: Callable[..., Any], short: list[bytes]
) -> None:
    async with make() as (app, loader), listening(app) as server:
        async with server.client() as client:
            servable = await held(client, loader)
            client.writer.write_eof()
            with anyio.fail_after(30):
                while not any(each._half_closed for each in server.state.all()):
                    await anyio.lowlevel.checkpoint()

            servable.let_through()
            status, _, _ = await client.answer()

    assert status == 200
    assert len(short) == 2


async def test_unforeseen_error_is_logged_and_told(
    make: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("lost")

    async with make() as (app, _), listening(app) as server:
        async with server.client() as client:
            await client.ask()
            monkeypatch.setattr("service.web.direct_request.Entry.close", fail)
            status, _, body = await client.ask()

    assert (status, json.loads(body)) == (500, {"error": "Internal server error."})
    assert "LookupError: lost" in caplog.text


async def test_unloaded_model_is_refused_alike(make: Callable[..., Any]) -> None:
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        await client.ask()
        await app.extensions["serving"].engine.unload(ModelSpec(name="a"))
        refused = await client.ask()
        app.dispatches_otherwise = True
        assert refused == await client.ask()
        assert refused[0] == 503


async def test_requests_need_no_task_for_the_time(
    make: Callable[..., Any], short: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # anyio's clock works in tasks alone where sniffio is installed, as by anyio 4.11.
    def of_tasks() -> float:
        assert asyncio.current_task() is not None
        return asyncio.get_running_loop().time()

    monkeypatch.setattr(anyio, "current_time", of_tasks)
    async with make() as (app, _), listening(app) as server:
        async with server.client() as client:
            statuses = [(await client.ask())[0] for _ in range(2)]
            failing = ONE_ROW.replace(b"1.5", b"666")
            statuses.append((await client.ask(failing))[0])

    assert statuses == [200, 200, 500]
    assert short == [ONE_ROW, ONE_ROW, failing]


async def test_nothing_of_an_answered_request_is_kept(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[weakref.ref[Any]] = []
    begin = DirectDispatcher.begin

    class Held(dict[str, Any]):
        """A scope that can be referred to weakly."""

    def held(self: DirectDispatcher, head: Any, exchange: ShortExchange) -> None:
        exchange.scope = Held(exchange.scope)
        bodies.append(weakref.ref(exchange.scope))
        begin(self, head, exchange)

    monkeypatch.setattr(DirectDispatcher, "begin", held)
    async with (
        make() as (app, _),
        listening(app) as server,
        server.client() as client,
    ):
        await client.ask()
        gc.disable()
        try:
            for _ in range(3):
                await client.ask()

            # The connection has its last exchange until the next one.
            assert [ref() is None for ref in bodies] == [True, True, True, False]
        finally:
            gc.enable()
