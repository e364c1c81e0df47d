"""Clients that disconnect, clients that are refused, and other models beside them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio import to_thread

from inference.errors import Overloaded, Unavailable
from inference.limits import Batching, Limits
from inference.types import QueueStats
from tests.support.servables import Ended, Gated, call, serving


async def test_call_cancelled_in_the_queue_never_runs() -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)
        gone = anyio.CancelScope()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1))
            await servable.until_ran(1)
            tasks.start_soon(ended.submit, call(2), gone)
            tasks.start_soon(ended.submit, call(3))
            await anyio.wait_all_tasks_blocked()
            gone.cancel()
            await anyio.wait_all_tasks_blocked()
            assert batcher.stats() == QueueStats(running=1, waiting=1, tokens=1)
            servable.let_through(2)

        assert servable.ran == [[1], [3]]


async def test_call_cancelled_before_its_runner_starts_never_runs() -> None:
    servable = Gated(open=True)

    async with serving(servable) as batcher:
        with anyio.CancelScope() as gone:
            gone.cancel()
            await batcher.submit(call(1))

        await anyio.wait_all_tasks_blocked()
        assert batcher.stats() == QueueStats()

    assert servable.ran == []


async def test_call_cancelled_in_a_forming_batch_never_runs() -> None:
    servable = Gated(open=True)
    batching = Batching(max_rows=2, max_delay_seconds=3600)

    async with serving(servable, Limits(batching=batching)) as batcher:
        ended = Ended(batcher)
        gone = anyio.CancelScope()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1, seconds=7200), gone)
            await anyio.wait_all_tasks_blocked()
            assert batcher.stats() == QueueStats(waiting=1, tokens=1)
            gone.cancel()
            await anyio.wait_all_tasks_blocked()
            assert batcher.stats() == QueueStats()

            for number in (2, 3):
                tasks.start_soon(ended.submit, call(number, seconds=7200))

        assert servable.ran == [[2, 3]]


async def test_call_cancelled_while_running_is_an_orphan() -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)
        gone = anyio.CancelScope()
        stays, after = call(3), call(4)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1))
            await servable.until_ran(1)
            tasks.start_soon(ended.submit, call(2), gone)
            tasks.start_soon(ended.submit, stays)
            await anyio.wait_all_tasks_blocked()
            servable.let_through(1)
            await servable.until_ran(2)
            gone.cancel()
            tasks.start_soon(ended.submit, after)
            await anyio.wait_all_tasks_blocked()
            assert batcher.stats() == QueueStats(
                running=2, waiting=1, orphans=1, tokens=1
            )
            servable.let_through(2)

        assert servable.ran == [[1], [2, 3], [4]]
        assert servable.most == 1
        assert ended.of([stays, after]) == [[6], [8]]


@pytest.mark.parametrize("tokens", [1, 2])
@pytest.mark.parametrize("max_queue", [0, 1, 3])
async def test_full_queue_refuses_at_once(tokens: int, max_queue: int) -> None:
    """Also calls that arrive at once; those that can run don't wait."""
    servable = Gated()
    limits = Limits(
        concurrency=tokens, max_queue=max_queue, batching=Batching(max_rows=1)
    )

    async with serving(servable, limits) as batcher:
        ended = Ended(batcher)
        calls = [call(number) for number in range(tokens + max_queue + 2)]

        async with anyio.create_task_group() as tasks:
            for each in calls:
                tasks.start_soon(ended.submit, each)

            await servable.until_ran(tokens)
            await anyio.wait_all_tasks_blocked()
            refused = [each for each in calls if each in ended]
            assert refused == calls[-2:]
            assert all(isinstance(each, Overloaded) for each in ended.of(refused))

            with pytest.raises(Overloaded, match="The model is busy"):
                batcher.check(1.0)

            servable.let_through()

        assert ended.of(calls[:-2]) == [[2 * n] for n in range(tokens + max_queue)]
        batcher.check(1.0)


async def test_reserved_place_counts_as_waiting() -> None:
    servable = Gated()

    async with serving(servable, Limits(max_queue=1)) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1))
            await servable.until_ran(1)

            with batcher.reserve(1.0):
                with pytest.raises(Overloaded), batcher.reserve(1.0):
                    pytest.fail("there is one place")

                with pytest.raises(Overloaded):
                    await batcher.submit(call(2))

            tasks.start_soon(ended.submit, kept := call(3))
            await anyio.wait_all_tasks_blocked()
            servable.let_through(2)

        assert ended[kept] == [6]


async def test_cancelled_call_frees_its_place() -> None:
    servable = Gated()
    limits = Limits(max_queue=1)

    async with serving(servable, limits) as batcher:
        ended = Ended(batcher)
        gone = anyio.CancelScope()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1))
            await servable.until_ran(1)
            tasks.start_soon(ended.submit, call(2), gone)
            await anyio.wait_all_tasks_blocked()

            with pytest.raises(Overloaded):
                await batcher.submit(call(3))

            gone.cancel()
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(ended.submit, after := call(4))
            await anyio.wait_all_tasks_blocked()
            servable.let_through(2)

        assert ended[after] == [8]


@pytest.mark.parametrize("number", [1, -1], ids=["a good call", "a failing one"])
async def test_retry_after_is_measured(
    monkeypatch: pytest.MonkeyPatch, number: float
) -> None:
    """One call took three seconds, and four wait before the next."""
    now = iter([0.0, 3.0])
    clock = SimpleNamespace(perf_counter=lambda: next(now, 3.0))
    monkeypatch.setattr("inference.batching.batcher.time", clock)
    servable = Gated()

    async with serving(servable, Limits(max_queue=4)) as batcher:
        ended = Ended(batcher)
        servable.let_through(1)
        await ended.submit(call(number))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(0))
            await servable.until_ran(2)

            for each in range(4):
                tasks.start_soon(ended.submit, call(each))

            await anyio.wait_all_tasks_blocked()

            with pytest.raises(Overloaded) as caught:
                await batcher.submit(call(9))

            assert caught.value.retry_after == 4 * 3.0
            servable.let_through()


async def test_hot_model_does_not_delay_another() -> None:
    """One model's threads are stuck and its queue is full; another model answers."""
    stuck, light = Gated(), Gated(open=True)
    limits = Limits(concurrency=4, max_queue=8, batching=Batching(max_rows=1))

    async with serving(stuck, limits) as hot, serving(light, limits) as other:
        ended = Ended(hot)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ended.submit, call(number))

            await stuck.until_ran(4)
            await anyio.wait_all_tasks_blocked()
            assert hot.stats() == QueueStats(running=4, waiting=8, tokens=4)
            assert len(ended.order) == 8

            for number in range(50):
                outputs = await other.submit(call(number))
                assert outputs["y"].tolist() == [[2 * number]]

            stuck.let_through()


@pytest.mark.parametrize("calls", [1, 3])
async def test_batch_without_a_thread_fails_and_the_next_runs(
    monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    run_sync, refused = to_thread.run_sync, iter([True])

    async def run(*args: Any, **kwargs: Any) -> Any:
        if next(refused, False):
            raise RuntimeError("can't start new thread")

        return await run_sync(*args, **kwargs)

    monkeypatch.setattr(to_thread, "run_sync", run)
    servable = Gated(open=True)

    async with serving(servable) as batcher:
        ended, batch, later = Ended(batcher), [call(n) for n in range(calls)], call(9)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for each in batch:
                    tasks.start_soon(ended.submit, each)

            await ended.submit(later)

        assert all(isinstance(each, Unavailable) for each in ended.of(batch))
        assert "can't start new thread" in str(ended[batch[0]])
        assert (ended[later], servable.ran) == ([18], [[9]])
