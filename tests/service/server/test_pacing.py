"""Refusals within a share of the event loop's time."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import anyio
import pytest

from service.server.overload import StartLimiter
from service.server.pacing import (
    BURST_SECONDS,
    BYTE_SECONDS,
    LONGEST_SECONDS,
    REFUSAL_SECONDS,
    RefusalPacer,
    cost_of,
)
from service.server.protocol import JsonErrorProtocol
from service.web.cors import CrossOrigin
from tests.service.server.test_connection import echo
from tests.service.server.test_protocol import read_answer
from tests.support.protocol_servers import connect, listening, read_all


@pytest.mark.parametrize(
    ("headers", "cost"),
    [
        ([], REFUSAL_SECONDS),
        ([(b"content-length", b"1000")], REFUSAL_SECONDS + 1000 * BYTE_SECONDS),
        ([(b"content-length", b"many")], REFUSAL_SECONDS),
        ([(b"transfer-encoding", b"chunked")], REFUSAL_SECONDS),
    ],
)
def test_a_refusal_costs_by_the_length_of_its_body(
    headers: list[tuple[bytes, bytes]], cost: float
) -> None:
    assert cost_of(headers) == cost


def test_refusals_within_the_share_are_given_at_once() -> None:
    pacer = RefusalPacer(share=0.2)
    cost = BURST_SECONDS

    assert pacer.take(cost, now=100.0)
    assert pacer.take(cost, now=100.0)
    assert not pacer.take(cost, now=100.0)
    assert not pacer.take(cost, now=100.0 + 0.9 * BURST_SECONDS / 0.2)
    assert pacer.take(cost, now=100.0 + 1.1 * BURST_SECONDS / 0.2)


def test_no_claim_of_a_long_body_is_paid_by_others_for_long() -> None:
    pacer = RefusalPacer()

    assert pacer.take(cost_of([(b"content-length", b"9" * 18)]), 100.0)
    assert not pacer.take(REFUSAL_SECONDS, 100.0)
    assert pacer.take(REFUSAL_SECONDS, 100.1 + LONGEST_SECONDS)


async def test_turns_come_in_order() -> None:
    pacer = RefusalPacer(share=0.5)
    order: list[int] = []
    last = asyncio.Event()

    def refuse(number: int) -> bool:
        order.append(number)
        if number == 4:
            last.set()

        return True

    while pacer.take(BURST_SECONDS, now=asyncio.get_running_loop().time()):
        pass

    for number in range(5):
        pacer.wait(0.01, partial(refuse, number))

    with anyio.fail_after(30):
        await last.wait()

    assert order == [0, 1, 2, 3, 4]
    assert len(pacer) == 0


async def test_wait_for_a_turn_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is in debt."""
    monkeypatch.setattr("service.server.pacing.LONGEST_SECONDS", 0.01)
    pacer = RefusalPacer(share=1e-9)

    for _ in range(3):
        await turn(pacer, 1.0)


async def test_clients_that_have_gone_take_no_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.server.pacing.LONGEST_SECONDS", 0.01)
    pacer = RefusalPacer(share=1e-9)
    pacer.take(2 * BURST_SECONDS, now=asyncio.get_running_loop().time())

    pacer.wait(1e9, lambda: False)
    await turn(pacer, 0.0)

    assert pacer._budget > -BURST_SECONDS / 2


async def turn(pacer: RefusalPacer, cost: float) -> None:
    came = asyncio.Event()

    def refuse() -> bool:
        came.set()
        return True

    pacer.wait(cost, refuse)

    with anyio.fail_after(30):
        await came.wait()


async def never(scope: object, receive: object, send: object) -> None:
    raise AssertionError("the application must not see this")


class InTurn(RefusalPacer):
    """Refuses nobody at once."""

    def take(self, cost: float, now: float) -> bool:
        return False


def strict(pacer: RefusalPacer | None = None) -> type[JsonErrorProtocol]:
    """Return a protocol that refuses all, by default each in its turn."""

    class Strict(JsonErrorProtocol):
        start_limiter = StartLimiter(min_queue=0)

    Strict.pacer = InTurn() if pacer is None else pacer
    return Strict


REFUSED = b"HTTP/1.1 503 Service Unavailable"
LONG = b"x" * 3_000_000
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n"


@pytest.mark.parametrize("pacer", [RefusalPacer, InTurn], ids=["at once", "in turn"])
@pytest.mark.parametrize("body", [b"", b"ab", LONG], ids=["none", "short", "long"])
def test_a_refused_connection_goes_on(pacer: type[RefusalPacer], body: bytes) -> None:
    with (
        listening(never, protocol=strict(pacer())) as address,
        connect(address) as client,
    ):
        for _ in range(3):
            client.sendall(POST % len(body) + b"\r\n" + body)
            head, _ = read_answer(client)
            assert head.startswith(REFUSED)
            assert b"connection: close" not in head


def test_requests_sent_ahead_of_a_paced_refusal_are_answered_after_it() -> None:
    ahead = POST % 2 + b"\r\nab"
    last = POST % 2 + b"connection: close\r\n\r\nab"
    with listening(echo, protocol=strict()) as address, connect(address) as client:
        client.sendall(ahead * 20 + last)
        answered = read_all(client)

    assert answered.startswith(REFUSED)
    assert answered.count(b"HTTP/1.1 ") == 21


@pytest.mark.parametrize(
    "closed",
    [
        POST % 0 + b"connection: close\r\n\r\n",
        POST.replace(b"1.1", b"1.0") % 0 + b"connection: keep-alive\r\n\r\n",
    ],
    ids=["HTTP/1.1", "HTTP/1.0"],
)
@pytest.mark.parametrize("pacer", [RefusalPacer, InTurn], ids=["at once", "in turn"])
def test_a_refusal_says_that_the_connection_is_closed(
    pacer: type[RefusalPacer], closed: bytes
) -> None:
    with (
        listening(never, protocol=strict(pacer())) as address,
        connect(address) as client,
    ):
        client.sendall(closed)
        answer = read_all(client)

    assert answer.startswith(REFUSED)
    assert b"\r\nconnection: close\r\n" in answer


def test_pages_of_other_origins_may_read_refusals() -> None:
    page = b"origin: https://example.org\r\n"
    application = CrossOrigin(never, ["https://example.org"])
    with (
        listening(application, protocol=strict()) as address,
        connect(address) as client,
    ):
        client.sendall(POST % 0 + page + b"connection: close\r\n\r\n")
        answer = read_all(client)

    assert answer.startswith(REFUSED)
    assert b"\r\naccess-control-allow-origin: https://example.org\r\n" in answer
    assert b"\r\nvary: Origin\r\n" in answer


def test_a_paced_refusal_of_a_long_body_is_read_before_the_end() -> None:
    protocol = strict()
    protocol.pacer._updated = time.monotonic() + 1000
    request = POST % len(LONG) + b"connection: close\r\n\r\n" + LONG

    with listening(never, protocol=protocol) as address, connect(address) as client:
        client.sendall(request)
        assert read_all(client).count(REFUSED) == 1


def test_a_client_that_waits_for_its_turn_may_leave() -> None:
    protocol = strict()

    with listening(never, protocol=protocol) as address:
        for _ in range(3):
            with connect(address) as client:
                client.sendall(POST % len(LONG) + b"\r\n" + LONG[:1000])

        with connect(address) as client:
            client.sendall(POST % 2 + b"connection: close\r\n\r\nab")
            assert read_all(client).startswith(REFUSED)
