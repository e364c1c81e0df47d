"""Calls that an idle model holds back to batch them with others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from inference.limits import Batching, Limits
from inference.types import QueueStats
from tests.support.servables import ALONE, OTHER, Ended, Gated, call, serving

if TYPE_CHECKING:
    from inference.batching.batcher import Batcher
    from inference.batching.call import Call

HOUR = 3600.0


def delayed(seconds: float = HOUR, *, tokens: int = 1, max_rows: int = 64) -> Limits:
    batching = Batching(max_rows=max_rows, max_delay_seconds=seconds)
    return Limits(concurrency=tokens, batching=batching)


async def held_back(batcher: Batcher, servable: Gated, *calls: Call) -> Ended:
    """Submit `calls`; the last one fills the batch of the others."""
    ended = Ended(batcher)

    async with anyio.create_task_group() as tasks:
        for each in calls:
            assert servable.ran == []
            tasks.start_soon(ended.submit, each)
            await anyio.wait_all_tasks_blocked()

    return ended


@pytest.mark.parametrize("tokens", [1, 3])
async def test_idle_model_waits_for_a_full_batch(tokens: int) -> None:
    """All waiting runners are woken."""
    servable = Gated(open=True)

    async with serving(servable, delayed(tokens=tokens, max_rows=4)) as batcher:
        calls = [call(1, seconds=2 * HOUR), call(2, seconds=2 * HOUR)]
        calls.append(call(3, 4, seconds=2 * HOUR))
        ended = await held_back(batcher, servable, *calls)

        assert servable.ran == [[1, 2, 3, 4]]
        assert ended.of(calls) == [[2], [4], [6, 8]]


async def test_full_batch_wakes_every_runner() -> None:
    servable = Gated()

    async with serving(servable, delayed(tokens=2, max_rows=2)) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(ended.submit, call(number, seconds=2 * HOUR))
                await anyio.wait_all_tasks_blocked()

            await servable.until_ran(2)
            assert servable.ran == [[0, 1], [2, 3]]
            assert batcher.stats() == QueueStats(running=4, tokens=2)
            servable.let_through(2)


async def test_held_back_token_counts_as_idle() -> None:
    """A held-back call takes no place in the queue."""
    servable = Gated(open=True)
    limits = replace(delayed(max_rows=2), max_queue=1)

    async with serving(servable, limits) as batcher:
        calls = [call(1, seconds=2 * HOUR), call(2, seconds=2 * HOUR)]
        ended = await held_back(batcher, servable, *calls)
        assert servable.ran == [[1, 2]]
        assert ended.of(calls) == [[2], [4]]


async def test_batch_runs_after_the_delay() -> None:
    servable = Gated(open=True)

    async with serving(servable, delayed(0.01)) as batcher:
        assert (await batcher.submit(call(1)))["y"].tolist() == [[2]]


async def test_call_near_its_deadline_is_not_held_back() -> None:
    """It takes its group's other calls with it."""
    servable = Gated(open=True)

    async with serving(servable, delayed()) as batcher:
        calls = [call(1, seconds=2 * HOUR), call(2, seconds=HOUR / 2)]
        ended = await held_back(batcher, servable, *calls)
        assert servable.ran == [[1, 2]]
        assert ended.of(calls) == [[2], [4]]


async def test_held_back_group_does_not_delay_others() -> None:
    servable = Gated(open=True)
    limits = Limits(signatures={"double": Batching(max_delay_seconds=HOUR)})

    async with serving(servable, limits) as batcher:
        ended = Ended(batcher)
        gone = anyio.CancelScope()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1, seconds=2 * HOUR), gone)
            await anyio.wait_all_tasks_blocked()

            for other in (call(2, of=OTHER), call(3, of=ALONE), call(4, on=True)):
                await ended.submit(other)

            assert servable.ran == [[2], [3], [4]]
            assert batcher.stats() == QueueStats(waiting=1, tokens=1)
            gone.cancel()

        await anyio.wait_all_tasks_blocked()
        assert batcher.stats() == QueueStats()
