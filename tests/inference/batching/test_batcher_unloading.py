"""Unloading while calls wait and run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from inference.batching.batcher import Batcher
from inference.errors import Unavailable
from inference.limits import Batching, Limits
from inference.types import QueueStats
from tests.support.servables import Ended, Gated, assert_nothing_left, call, loaded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.abc import TaskGroup, TaskStatus

ONE_AT_A_TIME = Limits(concurrency=1, batching=Batching(max_rows=1))


class Unloading:
    """A batcher whose `serve` can be ended from outside."""

    def __init__(self, servable: Gated, limits: Limits) -> None:
        self.batcher = Batcher(loaded(servable, limits))
        self.scope = anyio.CancelScope()
        self.over = anyio.Event()

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        with self.scope:
            await self.batcher.serve(task_status=task_status)

        self.over.set()


async def unload(
    servable: Gated, limits: Limits, then: Callable[..., Awaitable[None]]
) -> None:
    unloading = Unloading(servable, limits)

    async with anyio.create_task_group() as tasks:
        await tasks.start(unloading.serve)
        ended = Ended(unloading.batcher)
        await then(tasks, unloading, ended)

    assert unloading.over.is_set()
    assert_nothing_left(unloading.batcher)


async def test_unloading_fails_waiting_calls_and_waits_for_threads() -> None:
    servable = Gated()
    running, waiting, later = call(1), [call(2), call(3)], call(4)

    async def then(tasks: TaskGroup, unloading: Unloading, ended: Ended) -> None:
        batcher = unloading.batcher
        tasks.start_soon(ended.submit, running)
        await servable.until_ran(1)

        for each in waiting:
            tasks.start_soon(ended.submit, each)

        await anyio.wait_all_tasks_blocked()
        unloading.scope.cancel()
        await anyio.wait_all_tasks_blocked()

        assert all(isinstance(each, Unavailable) for each in ended.of(waiting))
        assert not (running in ended or unloading.over.is_set())
        assert batcher.stats() == QueueStats(running=1, tokens=1)
        await ended.submit(later)
        assert isinstance(ended[later], Unavailable)
        servable.let_through(1)

    await unload(servable, ONE_AT_A_TIME, then)
    assert servable.ran == [[1]]


async def test_running_calls_complete_on_unload() -> None:
    servable = Gated()
    running = [call(1), call(-2)]

    async def then(tasks: TaskGroup, unloading: Unloading, ended: Ended) -> None:
        for each in running:
            tasks.start_soon(ended.submit, each)

        await servable.until_ran(2)
        unloading.scope.cancel()
        await anyio.wait_all_tasks_blocked()
        servable.let_through(2)

        await unloading.over.wait()
        await anyio.wait_all_tasks_blocked()
        assert ended[running[0]] == [2]
        assert str(ended[running[1]]) == "-2 is below zero"

    limits = Limits(concurrency=2, batching=Batching(max_rows=1))
    await unload(servable, limits, then)


async def test_unloading_stops_reruns_of_a_failed_batch() -> None:
    servable = Gated()
    batch = [call(1), call(-2), call(3)]

    async def then(tasks: TaskGroup, unloading: Unloading, ended: Ended) -> None:
        tasks.start_soon(ended.submit, call(0))
        await servable.until_ran(1)

        for each in batch:
            tasks.start_soon(ended.submit, each)

        await anyio.wait_all_tasks_blocked()
        servable.let_through(2)
        await servable.until_ran(3)
        unloading.scope.cancel()
        await anyio.wait_all_tasks_blocked()
        servable.let_through(1)

        await unloading.over.wait()
        await anyio.wait_all_tasks_blocked()
        assert ended[batch[0]] == [2]
        assert all(isinstance(each, Unavailable) for each in ended.of(batch[1:]))

    await unload(servable, Limits(), then)
    assert servable.ran == [[0], [1, -2, 3], [1]]


async def test_unloading_fails_held_back_calls() -> None:
    servable = Gated()
    waiting = [call(number, seconds=7200) for number in (1, 2)]

    async def then(tasks: TaskGroup, unloading: Unloading, ended: Ended) -> None:
        for each in waiting:
            tasks.start_soon(ended.submit, each)

        await anyio.wait_all_tasks_blocked()
        unloading.scope.cancel()

    batching = Batching(max_delay_seconds=3600)
    await unload(servable, Limits(concurrency=2, batching=batching), then)
    assert servable.ran == []


async def test_calls_before_serving_are_refused() -> None:
    batcher = Batcher(loaded(Gated(), Limits()))

    with pytest.raises(Unavailable, match="being unloaded"):
        await batcher.submit(call(1))
