"""Changes of the concurrency while calls run."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from inference.errors import Overloaded
from inference.limits import Batching, Limits
from inference.types import QueueStats
from tests.support.servables import Ended, Gated, call, serving, settled

asking = ContextVar("asking", default="nobody")


def limits(concurrency: int) -> Limits:
    return Limits(concurrency=concurrency, batching=Batching(max_rows=1))


@pytest.mark.parametrize("tokens", [2, 3, 9])
async def test_more_tokens_run_waiting_calls_at_once(tokens: int) -> None:
    servable = Gated()

    async with serving(servable, limits(1)) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(ended.submit, call(number))

            await servable.until_ran(1)
            await anyio.wait_all_tasks_blocked()
            batcher.resize(tokens)
            running = min(tokens, 5)
            await servable.until_ran(running)
            await anyio.wait_all_tasks_blocked()
            assert batcher.tokens == tokens
            assert batcher.stats() == QueueStats(
                running=running, waiting=5 - running, tokens=running
            )
            servable.let_through()

    assert sorted(servable.ran) == [[0], [1], [2], [3], [4]]
    assert servable.most == running


async def test_fewer_tokens_let_running_calls_complete() -> None:
    servable = Gated()

    async with serving(servable, limits(3)) as batcher:
        ended = Ended(batcher)
        calls = [call(number) for number in range(6)]

        async with anyio.create_task_group() as tasks:
            for each in calls:
                tasks.start_soon(ended.submit, each)

            await servable.until_ran(3)
            batcher.resize(1)
            await anyio.wait_all_tasks_blocked()
            assert batcher.stats() == QueueStats(running=3, waiting=3, tokens=3)

            servable.let_through(2)

            while len(ended.order) < 2:
                await anyio.lowlevel.checkpoint()

            await anyio.wait_all_tasks_blocked()
            assert servable.began == 3

            for through in range(3, 7):
                servable.let_through(1)
                await servable.until_ran(min(through + 1, 6))
                await anyio.wait_all_tasks_blocked()
                assert servable.inside <= 1

    assert ended.of(calls) == [[2 * number] for number in range(6)]


async def test_tokens_can_shrink_and_grow_again() -> None:
    servable = Gated()

    async with serving(servable, limits(2)) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(ended.submit, call(number))

            await servable.until_ran(2)

            for tokens in (1, 4, 1, 2, 3):
                batcher.resize(tokens)
                await anyio.wait_all_tasks_blocked()

            await servable.until_ran(4)
            servable.let_through()

        assert len(ended.order) == 8
        assert servable.most == 4
        await settled(batcher)


async def test_resize_before_serving() -> None:
    servable = Gated(open=True)

    async with serving(servable, limits(1)) as batcher:
        batcher.resize(2)
        await batcher.submit(call(1))
        assert batcher.tokens == 2


async def test_threads_are_not_in_the_context_of_who_resized() -> None:
    found: list[str] = []

    class Asking(Gated):
        def run(self, *args: Any) -> dict[str, Any]:
            found.append(asking.get())
            return super().run(*args)

    servable = Asking(open=True)

    async with serving(servable, limits(1)) as batcher:
        ended = Ended(batcher)
        batcher.resize(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1))
            await anyio.wait_all_tasks_blocked()
            asking.set("the operator")
            batcher.resize(1)

    assert found == ["nobody"]


@pytest.mark.parametrize("own", [False, True])
async def test_limit_on_the_queue_changes_unless_it_is_the_models_own(
    own: bool,
) -> None:
    servable = Gated()
    few = replace(limits(1), max_queue=1, own_queue=own)

    async with serving(servable, few) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(0))
            await servable.until_ran(1)
            tasks.start_soon(ended.submit, call(1))
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(Overloaded, match="the limit is 1"):
                batcher.check(30)

            batcher.limit_queue(2)
            if own:
                with pytest.raises(Overloaded, match="the limit is 1"):
                    batcher.check(30)
            else:
                batcher.check(30)

            servable.let_through()
