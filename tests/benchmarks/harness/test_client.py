from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.harness.client import run_requests
from benchmarks.harness.exchanges import Exchange, Leave, Manner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Answer = Callable[[bytes], bytes]

ASK = Exchange(name="ask", method="GET", path="/ask", right=lambda body: body == b"yes")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"
HANG_UP = b""


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            while await reader.readline() not in (b"\r\n", b""):
                pass

            if not (response := answer(head)):
                break

            writer.write(response)

        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]


async def test_right_answers_are_counted() -> None:
    async with server(lambda head: OK) as port:
        tally = await run_requests(port, [ASK], requests=10, connections=3)

    assert (tally.statuses, tally.names) == ({200: 10}, {"ask": 10})
    assert (len(tally.seconds), tally.wrong, tally.resets) == (10, 0, 0)


async def test_a_wrong_answer_is_counted() -> None:
    wrong = OK.replace(b"yes", b"no!")

    async with server(lambda head: wrong) as port:
        tally = await run_requests(port, [ASK], requests=4, connections=2)

    assert (tally.statuses, tally.wrong) == ({200: 4}, 4)


async def test_another_status_is_counted() -> None:
    failed = OK.replace(b"200", b"500")

    async with server(lambda head: failed) as port:
        tally = await run_requests(port, [ASK], requests=4, connections=2)

    assert (tally.statuses, tally.wrong) == ({500: 4}, 0)


async def test_a_hang_up_is_counted_and_its_request_is_not_answered() -> None:
    answers = iter([OK, HANG_UP, OK, OK])

    async with server(lambda head: next(answers)) as port:
        tally = await run_requests(port, [ASK], requests=4, connections=1)

    assert (tally.statuses, tally.resets) == ({200: 3}, 1)


async def test_a_client_that_leaves_comes_again_on_another_connection() -> None:
    leaving = replace(ASK, leave=Leave(sent=4, seconds=0))

    async with server(lambda head: OK) as port:
        tally = await run_requests(port, [leaving, ASK], requests=8, connections=1)

    assert (tally.left, tally.statuses, tally.resets) == (4, {200: 4}, 0)


async def test_a_status_that_isnt_allowed_is_a_failure() -> None:
    late = replace(ASK, allowed=frozenset({200, 504}))
    answers = iter([OK.replace(b"200", status) for status in (b"200", b"504", b"500")])

    async with server(lambda head: next(answers)) as port:
        tally = await run_requests(port, [late], requests=3, connections=1)

    assert tally.failed == {"ask: 500": 1}


async def test_a_word_on_the_way_is_not_the_answer() -> None:
    processing = b"HTTP/1.1 102 Processing\r\n\r\n"

    async with server(lambda head: processing + OK) as port:
        tally = await run_requests(port, [ASK], requests=3, connections=1)

    assert (tally.statuses, tally.resets) == ({200: 3}, 0)


@pytest.mark.parametrize("manner", [Manner.SLOW, Manner.HALF_CLOSED])
async def test_every_manner_gets_its_answers(manner: Manner) -> None:
    async with server(lambda head: OK) as port:
        asks = [replace(ASK, manner=manner), ASK]
        tally = await run_requests(port, asks, requests=6, connections=2)

    assert (tally.statuses, tally.wrong, tally.resets) == ({200: 6}, 0, 0)


async def test_requests_sent_ahead_are_all_answered() -> None:
    async with server(lambda head: OK) as port:
        asks = [replace(ASK, manner=Manner.PIPELINED), ASK]
        tally = await run_requests(port, asks, requests=4, connections=1)

    assert (tally.statuses, tally.copies, tally.resets) == ({200: 8}, 4, 0)


async def test_a_hang_up_fails_all_that_was_sent_ahead() -> None:
    answers = iter([OK, HANG_UP, OK])

    async with server(lambda head: next(answers)) as port:
        asks = [replace(ASK, manner=Manner.PIPELINED), ASK]
        tally = await run_requests(port, asks, requests=2, connections=1)

    assert (tally.statuses, tally.copies, tally.resets) == ({200: 1}, 2, 1)
