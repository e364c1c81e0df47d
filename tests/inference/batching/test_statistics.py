"""Counters of requests and runs."""

from __future__ import annotations

import anyio
import pytest

from inference.batching import statistics
from inference.batching.statistics import CallStatistics
from inference.errors import DeadlineExceeded, ExecutionFailed
from inference.limits import Limits
from inference.types import Duration, InferenceStatistics
from tests.support.servables import ALONE, Ended, Gated, call, serving


async def test_sizes_of_batches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MAX_SIZES", 2)

    async with serving(Gated(open=True)) as batcher:
        for rows in (1, 2, 3, 2):
            await batcher.submit(call(*range(rows)))

        counted = batcher.statistics.snapshot()

    assert {each.rows: each.ran.count for each in counted.batches} == {1: 1, 2: 2}
    assert (counted.rows, counted.runs, counted.succeeded.count) == (8, 4, 4)


async def test_case_80_rows_and_runs_of_joined_calls() -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(0))
            await servable.until_ran(1)

            for each in (call(1), call(2, 3), call(4, 5)):
                tasks.start_soon(ended.submit, each)

            await anyio.wait_all_tasks_blocked()
            servable.let_through(2)

        counted = batcher.statistics.snapshot()

    assert (counted.rows, counted.runs) == (6, 2)
    assert (counted.succeeded.count, counted.queued.count) == (4, 4)
    assert counted.failed.count == 0
    runs = {batch.rows: batch.ran.count for batch in counted.batches}
    assert runs == {1: 1, 5: 1}
    assert all(batch.ran.ns > 0 for batch in counted.batches)
    assert 0 <= counted.queued.ns <= counted.succeeded.ns


async def test_a_call_that_is_not_joined_counts_as_one() -> None:
    async with serving(Gated(open=True)) as batcher:
        await batcher.submit(call(1, 2, 3, of=ALONE))
        counted = batcher.statistics.snapshot()

    assert (counted.rows, counted.runs) == (1, 1)


async def test_failed_call() -> None:
    async with serving(Gated(open=True)) as batcher:
        with pytest.raises(ExecutionFailed):
            await batcher.submit(call(666))

        counted = batcher.statistics.snapshot()

    assert (counted.failed.count, counted.succeeded, counted.runs) == (1, Duration(), 0)


async def test_expired_call_has_failed_though_its_run_ends() -> None:
    servable = Gated()

    async with serving(servable, Limits()) as batcher:
        with pytest.raises(DeadlineExceeded):
            await batcher.submit(call(1, seconds=0.01))

        servable.let_through()
        with anyio.fail_after(60):
            while batcher.stats().running:
                await anyio.lowlevel.checkpoint()

        counted = batcher.statistics.snapshot()

    assert (counted.failed.count, counted.succeeded.count) == (1, 0)
    assert (counted.rows, counted.runs) == (1, 1)


def test_nothing_counted() -> None:
    assert CallStatistics().snapshot() == InferenceStatistics()


async def test_histograms_of_requests_and_runs() -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(0))
            await servable.until_ran(1)

            for each in (call(1), call(2, 3)):
                tasks.start_soon(ended.submit, each)

            await anyio.wait_all_tasks_blocked()
            servable.let_through(2)

        found = batcher.statistics.histograms()
        counted = batcher.statistics.snapshot()

    assert sum(found.queue.counts) == 3
    assert found.queue.sum == pytest.approx(counted.queued.ns / 1e9, abs=1e-6)
    assert sum(found.compute.counts) == 2
    assert found.compute.sum > 0
    # Runs of one row, and of three: up to 1, 2 and 4.
    assert found.rows.counts[:3] == (1, 0, 1)
    assert found.rows.sum == 4
