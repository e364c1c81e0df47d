"""Clients that are slow, large, early, half-closed or offer an upgrade."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import socket
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

import pytest
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.server.connection import without_offers
from service.server.limits import ConnectionLimits
from service.server.protocol import JsonErrorProtocol
from service.server.transport import ExchangeTransport
from tests.service.server.test_protocol import read_answer
from tests.support.protocol_servers import connect, listening, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.protocol_servers import Address

SHORT = ConnectionLimits(
    keep_alive_seconds=0.2,
    head_seconds=0.2,
    body_seconds=0.2,
    write_seconds=0.2,
    head_bytes=1000,
    headers=10,
)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the method, the headers' names and the body, as JSON."""
    try:
        body = await whole_body(receive)
    except Gone:
        return

    document = {
        "method": scope["method"],
        "path": scope["path"],
        "headers": sorted(name.decode() for name, _ in scope["headers"]),
        "body": body.decode(),
    }
    await answer(send, json.dumps(document).encode())


class Gone(Exception):
    """The client has gone before its body was whole."""


async def whole_body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone

        assert message["type"] == "http.request"
        body += message["body"]
        more = message["more_body"]

    return body


async def answer(send: Any, body: bytes) -> None:
    length = str(len(body)).encode()
    start = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


async def late(scope: Any, receive: Any, send: Any) -> None:
    """Answer once more has been parsed, if more was sent."""
    with suppress(Gone):
        body = await whole_body(receive)
        for _ in range(5):
            await asyncio.sleep(0)

        await answer(send, body)


async def huge(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, bytes(64 << 20))


@pytest.fixture(scope="module")
def echoing() -> Iterator[Address]:
    with listening(echo) as address:
        yield address


@pytest.fixture(scope="module")
def short() -> Iterator[Address]:
    with listening(echo, SHORT) as address:
        yield address


def echoed(client: socket.socket) -> Any:
    head, body = read_answer(client)
    assert head.startswith(b"HTTP/1.1 200 "), head
    return json.loads(body)


UPGRADES = {
    "h2c": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n",
    "websocket": b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
    "several": b"connection: upgrade\r\nupgrade: TLS/1.0, h2c\r\n",
}


@pytest.mark.parametrize("offer", UPGRADES)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_an_offer_of_another_protocol_is_ignored(
    echoing: Address, offer: str, method: str
) -> None:
    request = b"%b /a HTTP/1.1\r\nHost: x\r\n%bContent-Length: 4\r\n\r\nbody" % (
        method.encode(),
        UPGRADES[offer],
    )
    with connect(echoing) as client:
        for _ in range(2):
            client.sendall(request)
            found = echoed(client)
            assert (found["method"], found["body"]) == (method, "body")
            assert "upgrade" not in found["headers"]


def test_a_body_after_an_offer_may_be_split_anywhere(echoing: Address) -> None:
    request = b"POST /a HTTP/1.1\r\n%bContent-Length: 4\r\n\r\nbody" % UPGRADES["h2c"]

    with connect(echoing) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for split in range(1, len(request)):
            client.sendall(request[:split])
            client.sendall(request[split:])
            assert echoed(client)["body"] == "body"


def test_chunks_after_an_offer(echoing: Address) -> None:
    head = b"POST /a HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n" % UPGRADES["h2c"]
    chunks = [b"4\r\nbody\r\n" for _ in range(5000)]

    with connect(echoing) as client:
        client.sendall(head + b"".join(chunks) + b"0\r\n\r\n")
        assert echoed(client)["body"] == "body" * 5000
        client.sendall(head + b"0\r\n\r\n")
        assert echoed(client)["body"] == ""


def test_an_old_client_with_an_offer_is_answered_and_closed(echoing: Address) -> None:
    with connect(echoing) as client:
        client.sendall(b"GET / HTTP/1.0\r\n%b\r\n" % UPGRADES["h2c"])
        assert read_all(client).startswith(b"HTTP/1.1 200 ")


def test_a_tunnel_is_refused(echoing: Address) -> None:
    with connect(echoing) as client:
        client.sendall(b"CONNECT example:80 HTTP/1.1\r\nHost: example:80\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 501 ")


def test_only_offers_leave_the_head() -> None:
    headers = [
        (b"host", b"x"),
        (b"connection", b"close , UPGRADE,HTTP2-Settings"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AA"),
    ]
    assert without_offers(b"GET", b"/a?b", "1.1", headers) == (
        b"GET /a?b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    )


@pytest.mark.parametrize("body", [b"", b"x" * 200_000], ids=["no body", "long body"])
def test_a_client_that_ended_sending_gets_its_answer(
    echoing: Address, body: bytes
) -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body)

    with connect(echoing) as client:
        client.sendall(head + body)
        client.shutdown(socket.SHUT_WR)
        _, _, rest = read_all(client).partition(b"\r\n\r\n")

    assert json.loads(rest)["body"] == body.decode()


def test_all_requests_before_the_end_of_sending_are_answered(echoing: Address) -> None:
    with connect(echoing) as client:
        client.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).count(b"HTTP/1.1 200 OK") == 1000


@pytest.mark.parametrize("cut", [0, 1], ids=["whole", "cut"])
def test_an_end_while_requests_wait_to_be_parsed_loses_no_answer(cut: int) -> None:
    ended = asyncio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        body = await whole_body(receive)
        await ended.wait()
        await answer(send, body)

    class Ending(JsonErrorProtocol):
        def eof_received(self) -> bool:  # type: ignore[override]
            kept = super().eof_received()
            ended.set()
            return kept

    # The first piece that is parsed ends within a body.
    one = b"POST / HTTP/1.1\r\nContent-Length: 1500\r\n\r\n" + b"x" * 1500
    with listening(patient, protocol=Ending) as address, connect(address) as client:
        client.sendall(one * 7 + one[: len(one) - cut])
        client.shutdown(socket.SHUT_WR)
        answers = read_all(client).split(b"HTTP/1.1 ")[1:]

    # One that is never whole ends the connection, not by the time limit for bodies.
    assert all(each.startswith(b"200 OK") for each in answers)
    assert 0 < len(answers) < 8 if cut else len(answers) == 8


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET / HT", id="half a head"),
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", id="body"),
    ],
)
def test_an_end_before_the_request_is_complete_closes(
    echoing: Address, sent: bytes
) -> None:
    with connect(echoing) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""


def test_a_slow_answer_tells_a_half_closed_client_from_one_that_is_gone() -> None:
    gone = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if scope["path"] == "/patient":
            # Until the other client is known to be gone.
            await gone.wait()
            await answer(send, b"patience")
        elif (await receive())["type"] == "http.disconnect":
            gone.set()

    with listening(slow) as address:
        patient, hasty = connect(address), connect(address)
        patient.sendall(b"GET /patient HTTP/1.1\r\nHost: x\r\n\r\n")
        patient.shutdown(socket.SHUT_WR)
        hasty.sendall(b"GET /hasty HTTP/1.1\r\nHost: x\r\n\r\n")
        hasty.close()
        with patient:
            answered = read_all(patient)

    assert answered.endswith(b"patience")
    assert answered.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 102 "))


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_stream_of_a_client_that_sent_ahead_learns_that_it_has_gone(
    ahead: int,
) -> None:
    gone = threading.Event()

    async def streaming(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        leaving = asyncio.ensure_future(receive())
        while not leaving.done():
            # Nothing is read of a client ahead: it is known to be gone by a write.
            message = {"type": "http.response.body", "body": b"x", "more_body": True}
            await send(message)
            await asyncio.sleep(0.01)

        gone.set()

    with listening(streaming) as address:
        with connect(address) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * (1 + ahead))
            assert client.recv(4096)

        assert gone.wait(30)


# Limits


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost:", 408, id="half a head"),
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx", 408, id="half a body"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
            408,
            id="half the chunks",
        ),
    ],
)
def test_a_client_that_stops_sending_is_told(
    short: Address, sent: bytes, status: int
) -> None:
    with connect(short) as client:
        client.sendall(sent)
        told = read_all(client)

    assert told.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in told
    assert b"-timeout)" in told


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"])
def test_an_idle_connection_is_closed(short: Address, before: bytes) -> None:
    with connect(short) as client:
        client.sendall(before)
        if before.strip():
            echoed(client)

        assert read_all(client) == b""


def test_a_trickle_is_no_progress(short: Address) -> None:
    with connect(short) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 99999\r\n\r\n")
        client.settimeout(0.01)
        told = b""

        while not told:
            client.sendall(b"x")
            try:
                told = client.recv(4096)
            except TimeoutError:
                continue

    assert told.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_waits_to_be_asked_for_its_body_is_not_slow() -> None:
    async def deliberate(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3 * SHORT.body_seconds)
        await answer(send, await whole_body(receive))

    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"

    with listening(deliberate, SHORT) as address, connect(address) as client:
        client.sendall(head)
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        assert read_answer(client)[1] == b"body"


def test_a_client_that_does_not_read_is_cut_off() -> None:
    with listening(huge, SHORT) as address, connect(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with connect(address) as other:
            # Answered until the first one is gone, and after it.
            other.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert other.recv(12) == b"HTTP/1.1 200"

        with pytest.raises(ConnectionResetError):
            wait_for_reset(client)


def wait_for_reset(client: socket.socket) -> None:
    """Send, without reading, until the connection is reset."""
    while True:
        client.sendall(b"\r\n")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"a" * 1000, id="one header"),
        pytest.param(b"GET /" + b"a" * 1000 + b" HTTP/1.1\r\na: b", id="the target"),
        pytest.param(b"GET / HTTP/1.1\r\nx: " + b"a" * 9_000_000, id="for ever"),
        pytest.param(b"GET / HTTP/1.1" + b"\r\na: b" * 11, id="many"),
        pytest.param(b"GET / HTTP/1.1" + b"\r\na: b" * 900_000, id="many more"),
    ],
)
def test_a_head_beyond_its_limits_is_refused(short: Address, head: bytes) -> None:
    with connect(short) as client:
        client.sendall(head + b"\r\n\r\n")
        told = read_all(client)

    assert told.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"1000 bytes" in told
    assert b"10 headers" in told


def test_a_head_at_its_limits_is_served(short: Address) -> None:
    lines = b"\r\n".join(b"a: %b" % (b"b" * 80) for _ in range(10))
    body = b"x" * 3000
    request = b"POST / HTTP/1.1\r\n%b\r\nContent-Length: 3000\r\n\r\n" % lines[:-89]

    with connect(short) as client:
        client.sendall(request + body)
        assert echoed(client)["body"] == body.decode()


def test_beyond_the_limit_idle_connections_give_way() -> None:
    limits = ConnectionLimits(connections=3)

    with listening(echo, limits) as address, ExitStack() as clients:
        used, *mute = [clients.enter_context(connect(address)) for _ in range(3)]
        used.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        echoed(used)

        for victim in mute:
            later = clients.enter_context(connect(address))
            later.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            echoed(later)
            assert victim.recv(1) == b""

        used.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        echoed(used)


def test_beyond_the_limit_of_busy_connections_only_probes_are_answered() -> None:
    free = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/free":
            free.set()
        elif scope["path"] == "/slow":
            await free.wait()

        await echo(scope, receive, send)

    def ask(client: socket.socket, path: bytes) -> None:
        client.sendall(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % path)

    limits = ConnectionLimits(connections=2)
    with listening(slow, limits) as address, ExitStack() as clients:
        first = clients.enter_context(connect(address))
        second = clients.enter_context(connect(address))
        ask(first, b"slow")
        ask(second, b"slow")
        # The two have arrived once the third can be told so.
        third = clients.enter_context(connect(address))
        ask(third, b"v1/models")
        told = read_all(third)

        for path in (b"livez", b"readyz"):
            probe = clients.enter_context(connect(address))
            ask(probe, path)
            assert echoed(probe)["path"] == "/" + path.decode()

        first.shutdown(socket.SHUT_RDWR)
        again = clients.enter_context(connect(address))
        while True:
            ask(again, b"free")
            head, _ = read_answer(again)
            if head.startswith(b"HTTP/1.1 200 "):
                break

            again = clients.enter_context(connect(address))

        assert echoed(second)["path"] == "/slow"

    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"--max-connections" in told


def test_requests_sent_ahead_are_started_one_after_the_other() -> None:
    most = 0

    async def counting(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, b"")

    class Counting(JsonErrorProtocol):
        def data_received(self, data: bytes) -> None:
            nonlocal most
            super().data_received(data)
            most = max(most, len(self.pipeline))

    with listening(counting, protocol=Counting) as address, connect(address) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n" * 20_000 + b"GET / HTTP/1.0\r\n\r\n")
        assert read_all(client).count(b"HTTP/1.1 200 OK") == 20_001

    assert 0 < most < 500


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n",
        b"POST / HTTP/1.0\r\ncontent-length: %d\r\n\r\n",
    ],
    ids=["HTTP/1.1", "HTTP/1.0"],
)
def test_early_answer_reaches_a_client_that_still_sends_its_body(head: bytes) -> None:
    """As nginx does by default: HTTP/1.0, and the whole body whatever comes back."""
    body = bytes(8 << 20)
    with listening(decline) as address, connect(address) as client:
        client.sendall(head % len(body))
        first = client.recv(1)
        client.sendall(body)
        answered = first + read_all(client)

    assert answered.startswith(b"HTTP/1.1 401 ")
    assert answered.endswith(b"a key is needed")
    assert b"connection: close" in answered


async def decline(scope: Any, receive: Any, send: Any) -> None:
    """Answer before the body has come."""
    text = b"a key is needed"
    headers = [(b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": text})


CHUNKED = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"
GIVEN = b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nab"


@pytest.mark.parametrize(
    ("before", "answers"),
    [
        pytest.param(b"", [400], id="alone"),
        pytest.param(GIVEN, [200], id="after one that is answered"),
        pytest.param(GIVEN * 3, [200] * 3, id="after some"),
    ],
)
@pytest.mark.parametrize("app", [echo, late], ids=["at once", "later"])
def test_body_that_is_malformed_ends_its_connection(
    app: Any, before: bytes, answers: list[int]
) -> None:
    with listening(app) as address, connect(address) as client:
        client.sendall(before + CHUNKED + b"no length\r\n")
        answered = read_all(client)

    found = [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", answered)]
    # Where all before it are answered when it is read, it is told, too.
    assert found in (answers, [*answers, 400])


def test_malformed_rest_of_a_body_is_not_answered_again() -> None:
    with listening(decline) as address, connect(address) as client:
        client.sendall(CHUNKED)
        head, body = read_answer(client)
        client.sendall(b"no length\r\n")
        rest = read_all(client)

    assert head.startswith(b"HTTP/1.1 401 ")
    assert (body, rest) == (b"a key is needed", b"")


def test_an_exchange_uses_no_more_of_its_transport() -> None:
    code = inspect.getsource(RequestResponseCycle)
    used = set(re.findall(r"self\.transport\.(\w+)", code))
    assert used == {*ExchangeTransport.__slots__}


def test_the_parts_of_uvicorn_that_are_relied_on() -> None:
    """An upgrade of uvicorn that changes these needs a look at `Connection`."""
    relied_on = {
        "_start_asgi_task": ["self", "cycle", "app"],
        "on_message_begin": ["self"],
        "on_headers_complete": ["self"],
        "on_body": ["self", "body"],
        "on_message_complete": ["self"],
        "on_response_complete": ["self"],
        "send_400_response": ["self", "msg"],
        "shutdown": ["self"],
        "eof_received": ["self"],
    }
    for name, parameters in relied_on.items():
        signature = inspect.signature(getattr(HttpToolsProtocol, name))
        assert list(signature.parameters) == parameters

    code = inspect.getsource(HttpToolsProtocol)
    for attribute in ("pipeline", "cycle", "flow", "parser", "headers", "url", "scope"):
        assert f"self.{attribute}" in code
