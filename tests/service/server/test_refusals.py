"""Requests that the server refuses before its application sees them, counted."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from service.bridge.bridge import Bridge
from service.server.limits import ConnectionLimits
from service.server.overload import KnownRefusals, StartLimiter
from service.server.protocol import JsonErrorProtocol
from service.telemetry.requests import RequestCounters
from tests.service.server.test_protocol import BODY, alive, post, read_answer, serving
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.protocol_servers import connect, listening, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.protocol_servers import Address

SHORT = ConnectionLimits(
    head_seconds=0.2, body_seconds=0.2, head_bytes=1000, headers=10
)


class Counted(JsonErrorProtocol):
    """A protocol with counters of its own."""

    counters = RequestCounters()


def counts(protocol: type[JsonErrorProtocol]) -> tuple[Counter[Any], Counter[Any]]:
    """Return the statuses and the refusals' reasons so far."""
    figures = protocol.counters.figures()
    statuses: Counter[Any] = Counter()
    for (model, _, origin, status), value in figures["tandem_requests"].items():
        assert isinstance(value, float)
        statuses[model, origin, int(status)] += int(value)

    reasons: Counter[Any] = Counter()
    for labels, value in figures["tandem_refusals"].items():
        assert isinstance(value, float)
        reasons[labels] += int(value)

    return statuses, reasons


async def read_body(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass

    await alive(scope, receive, send)


@pytest.fixture(scope="module")
def short() -> Iterator[Address]:
    with listening(read_body, SHORT, protocol=Counted) as address:
        yield address


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        pytest.param(b"no HTTP\r\n\r\n", 400, "malformed", id="malformed"),
        pytest.param(
            b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n", 501, "malformed", id="tunnel"
        ),
        pytest.param(
            b"GET /%b HTTP/1.1\r\n" % (b"x" * 2000), 431, "head_too_large", id="large"
        ),
        pytest.param(b"GET / HTTP/1.1\r\nHost:", 408, "head_too_slow", id="slow head"),
    ],
)
def test_requests_that_can_not_be_read(
    short: Address, sent: bytes, status: int, reason: str
) -> None:
    statuses, reasons = counts(Counted)

    with connect(short) as client:
        client.sendall(sent)
        assert read_all(client).startswith(b"HTTP/1.1 %d " % status)

    later, why = counts(Counted)
    assert later - statuses == {("", "other", status): 1}
    assert why - reasons == {(reason, ""): 1}


def test_a_slow_body_is_a_refusal_and_the_applications_request(short: Address) -> None:
    statuses, reasons = counts(Counted)

    with connect(short) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx")
        assert read_all(client).startswith(b"HTTP/1.1 408 ")

    later, why = counts(Counted)
    assert later == statuses
    assert why - reasons == {("body_too_slow", ""): 1}


def test_a_busy_loop() -> None:
    class Busy(JsonErrorProtocol):
        start_limiter = StartLimiter(min_queue=0)
        counters = RequestCounters()

    with serving(alive, Busy) as client:
        for _ in range(2):
            client.sendall(post() + BODY)
            assert read_answer(client)[0].startswith(b"HTTP/1.1 503")

    statuses, reasons = counts(Busy)
    assert statuses == {("", "other", 503): 2}
    assert +reasons == {("event_loop_busy", ""): 2}


def test_too_many_connections() -> None:
    begun, free = threading.Event(), asyncio.Event()

    class Crowded(JsonErrorProtocol):
        counters = RequestCounters()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            begun.set()
            await free.wait()
        else:
            free.set()

        await alive(scope, receive, send)

    limits = ConnectionLimits(connections=1)
    with (
        listening(slow, limits, protocol=Crowded) as address,
        ExitStack() as clients,
    ):
        first = clients.enter_context(connect(address))
        first.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        assert begun.wait(30)
        second = clients.enter_context(connect(address))
        second.sendall(b"GET /free HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_all(second).startswith(b"HTTP/1.1 503")
        third = clients.enter_context(connect(address))
        third.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(third)[1] == b"ok"
        assert read_answer(first)[1] == b"ok"

    statuses, reasons = counts(Crowded)
    assert statuses == {("", "other", 503): 1}
    assert +reasons == {("connections_full", ""): 1}


def test_a_full_model_is_counted_by_its_name() -> None:
    class Full(JsonErrorProtocol):
        known_refusals = KnownRefusals()
        counters = RequestCounters()

    engine = FakeEngine(FakeModel(name="m", version=3, full=True))

    with serving(Bridge(make_app(engine)), Full) as client:
        for _ in range(3):
            client.sendall(post(b"content-type: application/json") + BODY)
            assert read_answer(client)[0].startswith(b"HTTP/1.1 429 ")

    # The application has counted the first.
    figures = Full.counters.figures()
    assert figures["tandem_requests"] == {("m", "3", "v1", "429"): 2}
    assert figures["tandem_refusals"]["queue_full", "m"] == 2
