"""The generator against small servers that answer, refuse, stall and hang up."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.harness.exchanges import predictions
from benchmarks.harness.generator import Closed, Open, Span, generating, send_all
from benchmarks.harness.recording import DROPPED, OK, RESET, UNANSWERED
from benchmarks.load.self_check import RESPONSE, generator_rate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange
    from benchmarks.harness.generator import Stream
    from benchmarks.harness.recording import Recording

    Answer = Callable[[int], Awaitable[bytes]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pins to CPUs")

REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"
CLOSES = RESPONSE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
STALL = 0.3
SPAN = Span(seconds=0.2, settle=0, drain=0.5)


def asked(answer: float = 0.0) -> list[Exchange]:
    return predictions(np.zeros((1, 2), np.float32), np.full((1, 1), answer), "/")


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """Each request gets what `answer` gives for its number; nothing hangs up."""
    numbers = count()

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())  # type: ignore[arg-type]

        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readuntil(b"}")
                response = await answer(next(numbers))
                writer.write(response)

                if not response or response == CLOSES:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield listening.sockets[0].getsockname()[1]

        for task in serving:
            task.cancel()

        await asyncio.gather(*serving, return_exceptions=True)


async def send(stream: Stream, span: Span = SPAN) -> Recording:
    [recording] = await send_all([stream], span)
    return recording


def closed(port: int, connections: int = 2, answer: float = 0.0) -> Closed:
    return Closed(port=port, exchanges=asked(answer), connections=connections)


def opened(
    port: int, rate: float, connections: int = 64, *, drops: bool = False
) -> Open:
    return Open(
        port=port,
        exchanges=asked(),
        rate=rate,
        connections=connections,
        drops=drops,
        pace="constant",
    )


async def fine(number: int) -> bytes:
    return RESPONSE


async def test_right_answers_are_counted_and_a_sample_compared() -> None:
    async with server(fine) as port:
        found = await send(closed(port))

    assert set(found.statuses) == {OK}
    assert (found.checked, found.wrong) == (-(-len(found.statuses) // 100), 0)


async def test_a_wrong_answer_is_seen() -> None:
    async with server(fine) as port:
        found = await send(closed(port, answer=1.0))

    assert found.wrong == found.checked > 0


async def test_a_connection_that_the_server_ends_is_opened_anew() -> None:
    async def answer(number: int) -> bytes:
        return CLOSES

    async with server(answer) as port:
        found = await send(closed(port))

    assert set(found.statuses) == {OK}
    assert len(found.statuses) > 2


async def test_a_request_due_at_the_very_end_is_sent() -> None:
    async with server(fine) as port:
        found = await send(opened(port, rate=100.0))

    assert found.intended[-1] == SPAN.end
    assert set(found.statuses) == {OK}


async def test_a_hang_up_is_a_reset() -> None:
    async def answer(number: int) -> bytes:
        return b"" if number == 1 else RESPONSE

    async with server(answer) as port:
        found = await send(closed(port, connections=1))

    assert list(found.statuses).count(RESET) == 1
    assert list(found.statuses).count(OK) > 1


async def test_a_missing_answer_is_unanswered() -> None:
    async def answer(number: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with server(answer) as port:
        found = await send(closed(port))

    assert list(found.statuses) == [UNANSWERED, UNANSWERED]


async def test_refusals_are_no_resets() -> None:
    async def answer(number: int) -> bytes:
        return REFUSED if number % 2 else RESPONSE

    async with server(answer) as port:
        found = await send(opened(port, rate=100))

    assert set(found.statuses) == {OK, 429}
    assert len(found.statuses) == 21


async def test_a_stalled_server_cant_hide() -> None:
    """With one connection, what is due while it is taken waits, and the wait counts."""

    async def answer(number: int) -> bytes:
        if number == 0:
            await asyncio.sleep(STALL)

        return RESPONSE

    async with server(answer) as port:
        found = await send(opened(port, rate=50, connections=1))

    latencies = [
        end - due for end, due in zip(found.ended, found.intended, strict=True)
    ]
    services = [end - sent for end, sent in zip(found.ended, found.sent, strict=True)]
    assert set(found.statuses) == {OK}
    assert len(latencies) == 11
    # Due at 0, 20, 40 … ms, none is answered before the first: at 300 ms.
    assert all(
        latency >= STALL - due - 0.01
        for latency, due in zip(latencies, found.intended, strict=True)
    )
    assert min(latencies) > max(services[1:])


async def test_more_connections_are_opened_when_all_are_taken() -> None:
    free = asyncio.Event()

    async def answer(number: int) -> bytes:
        if number == 39:
            free.set()

        await free.wait()
        return RESPONSE

    async with server(answer) as port:
        found = await send(opened(port, rate=200))

    # None would be answered unless forty were asked at once.
    assert list(found.statuses) == [OK] * 41


async def test_a_request_without_a_connection_is_unanswered() -> None:
    async def answer(number: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with server(answer) as port:
        found = await send(opened(port, rate=50, connections=1))

    assert list(found.statuses) == [UNANSWERED] * 11


async def test_a_request_without_a_connection_is_dropped_if_asked_for() -> None:
    async def answer(number: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with server(answer) as port:
        found = await send(opened(port, rate=50, connections=2, drops=True))

    assert sorted(found.statuses) == [UNANSWERED] * 2 + [DROPPED] * 9


def test_a_process_of_its_own_sends_to_a_real_server(tmp_path: Path) -> None:
    [cpu, *_] = sorted(os.sched_getaffinity(0))

    with generating([cpu]) as generator:
        rate = generator_rate(generator, [cpu], 0.2, tmp_path / "log")

    assert rate > 0


def poisson(rate: float = 1000.0, seed: int = 1) -> Open:
    return Open(port=0, exchanges=[], rate=rate, seed=seed)


def test_constant_arrivals_are_evenly_apart() -> None:
    due = opened(0, rate=4.0).arrivals(1)
    assert due == [0, 0.25, 0.5, 0.75, 1]


def test_poisson_arrivals_have_the_rate_and_spread() -> None:
    due = poisson().arrivals(20)
    gaps = [later - earlier for earlier, later in zip(due, due[1:], strict=False)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5

    assert len(due) == pytest.approx(20_000, rel=0.05)
    assert spread == pytest.approx(mean, rel=0.05)
    assert 0 <= due[0] <= due[-1] < 20


def test_a_seed_gives_the_same_arrivals() -> None:
    assert poisson(seed=3).arrivals(1) == poisson(seed=3).arrivals(1)
    assert poisson(seed=3).arrivals(1) != poisson(seed=4).arrivals(1)
