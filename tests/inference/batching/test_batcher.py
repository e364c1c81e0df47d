"""Calls of one model, run by a servable whose threads wait for the test.

What happens is ordered by events: `wait_all_tasks_blocked` returns when every
task waits for a thread, a client or the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from inference.errors import ExecutionFailed, InputMismatch
from inference.limits import Batching, Limits
from inference.types import QueueStats
from tests.support.servables import (
    ALONE,
    DOUBLE,
    OTHER,
    SHORT,
    Ended,
    Gated,
    call,
    serving,
)

if TYPE_CHECKING:
    from inference.batching.call import Call
    from inference.types import Signature


def batches(**options: float | tuple[int, ...]) -> Limits:
    return Limits(batching=Batching(**options))  # type: ignore[arg-type]


async def run_behind_a_busy_one(
    limits: Limits, *calls: Call, runs: int
) -> tuple[Gated, Ended]:
    """Submit `calls` in order while another runs; they take `runs` runs."""
    servable = Gated()

    async with serving(servable, limits) as batcher:
        ended = Ended(batcher)
        first = call(0)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, first)
            await servable.until_ran(1)

            for each in calls:
                tasks.start_soon(ended.submit, each)

            await anyio.wait_all_tasks_blocked()
            assert batcher.stats().waiting == len(calls)
            servable.let_through(1 + runs)

        assert servable.ran.pop(0) == [0]
        assert len(servable.ran) == runs
        assert ended[first] == [0]

    return servable, ended


async def test_idle_model_runs_a_call_at_once() -> None:
    servable = Gated()

    async with serving(servable, Limits(concurrency=2)) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            for number in (1, 2):
                tasks.start_soon(ended.submit, each := call(number))
                await servable.until_ran(number)
                assert each not in ended

            assert servable.ran == [[1], [2]]
            assert batcher.stats() == QueueStats(running=2, tokens=2)
            servable.let_through(2)


async def test_a_call_knows_how_long_it_waited_and_ran() -> None:
    servable = Gated()

    async with serving(servable, Limits()) as batcher:
        ended = Ended(batcher)
        first, *joined = calls = [call(number) for number in range(3)]

        async with anyio.create_task_group() as tasks:
            for each in calls:
                tasks.start_soon(ended.submit, each)
                await servable.until_ran(1)

            await anyio.wait_all_tasks_blocked()
            servable.let_through(2)

    assert all(each.started >= first.started + first.compute_seconds for each in joined)
    assert all(each.times.queue > 0 < each.compute_seconds for each in calls)
    assert joined[0].compute_seconds == joined[1].compute_seconds


async def test_next_batch_grows_while_the_model_is_busy() -> None:
    calls = [call(1), call(2, 3), call(4)]
    servable, ended = await run_behind_a_busy_one(Limits(), *calls, runs=1)

    assert servable.ran == [[1, 2, 3, 4]]
    assert ended.of(calls) == [[2], [4, 6], [8]]
    assert ended.order[1:] == calls


async def test_runner_goes_on_with_calls_that_arrived_meanwhile() -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(ended.submit, call(number))
                await anyio.wait_all_tasks_blocked()

                if number:
                    servable.let_through(1)

                await servable.until_ran(number + 1)

            servable.let_through(1)

        assert servable.ran == [[0], [1], [2], [3], [4]]
        assert servable.most == 1


async def test_next_call_of_an_answered_client_runs() -> None:
    """The call arrives in the step in which the runner would end."""
    servable = Gated(open=True)

    async with serving(servable) as batcher:
        for number in range(200):
            outputs = await batcher.submit(call(number))
            assert outputs["y"].tolist() == [[2 * number]]
            assert batcher.stats() == QueueStats()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        pytest.param({"of": DOUBLE}, {"of": OTHER}, id="signatures"),
        pytest.param({"width": 1}, {"width": 2}, id="row shapes"),
        pytest.param({"outputs": ("y",)}, {"outputs": ("y", "z")}, id="outputs"),
    ],
)
async def test_groups_are_never_mixed(
    one: dict[str, Signature], two: dict[str, Signature]
) -> None:
    """The Open Inference Protocol's conformance cases 78 and 79."""
    calls = [
        call(number, **kind)  # type: ignore[arg-type]
        for number, kind in enumerate([one, two, one, two, one], start=1)
    ]
    servable, ended = await run_behind_a_busy_one(Limits(), *calls, runs=2)

    assert servable.ran == [[1, 3, 5], [2, 4]]
    assert ended.of(calls) == [[2], [4], [6], [8], [10]]


@pytest.mark.parametrize(
    ("calls", "ran"),
    [
        pytest.param(
            [{"of": ALONE}, {"of": ALONE}, {}, {}],
            [[1], [2], [3, 4]],
            id="a signature that isn't batchable",
        ),
        pytest.param(
            [{}, {"on": True}, {"on": False}, {}],
            [[1, 4], [2], [3]],
            id="an optional input",
        ),
    ],
)
async def test_unbatchable_calls_run_alone(
    calls: list[dict[str, Signature]], ran: list[list[float]]
) -> None:
    made = [
        call(number, **kind)  # type: ignore[arg-type]
        for number, kind in enumerate(calls, start=1)
    ]
    servable, ended = await run_behind_a_busy_one(Limits(), *made, runs=len(ran))

    assert servable.ran == ran
    assert ended.of(made) == [[2], [4], [6], [8]]


@pytest.mark.parametrize(
    ("max_rows", "sizes", "ran"),
    [
        pytest.param(4, [1, 1, 1, 1, 1], [4, 1], id="a full batch"),
        pytest.param(4, [2, 3, 1], [2, 4], id="rows are counted, not calls"),
        pytest.param(4, [1, 9, 1], [1, 9, 1], id="larger than a batch: alone"),
        pytest.param(4, [1, 4, 3], [1, 4, 3], id="nobody overtakes its own group"),
        pytest.param(1, [1, 1, 2], [1, 1, 2], id="none joined"),
    ],
)
async def test_batch_is_bounded_by_max_rows(
    max_rows: int, sizes: list[int], ran: list[int]
) -> None:
    calls = [call(*[number] * rows) for number, rows in enumerate(sizes, start=1)]
    limits = batches(max_rows=max_rows)
    servable, ended = await run_behind_a_busy_one(limits, *calls, runs=len(ran))

    assert [len(numbers) for numbers in servable.ran] == ran
    assert ended.of(calls) == [[2 * n] * rows for n, rows in enumerate(sizes, start=1)]


async def test_padding_is_removed_from_outputs() -> None:
    limits = batches(max_rows=8, allowed_rows=(1, 4, 8))
    calls = [call(1), call(2, 3), call(4, 5, 6, 7, 8, 9, 10, 11, 12)]
    servable, ended = await run_behind_a_busy_one(limits, *calls, runs=2)

    assert servable.ran == [[1, 2, 3, 3], [4, 5, 6, 7, 8, 9, 10, 11, 12]]
    assert ended.of(calls)[:2] == [[2], [4, 6]]


async def test_single_call_is_padded() -> None:
    servable = Gated(open=True)

    async with serving(servable, batches(max_rows=4, allowed_rows=(4,))) as batcher:
        outputs = await batcher.submit(call(1, 2, 3))

    assert servable.ran == [[1, 2, 3, 3]]
    assert outputs["y"].tolist() == [[2], [4], [6]]


async def test_batch_with_missing_output_rows_is_rerun_one_by_one() -> None:
    """A call that runs alone gets all rows of the output."""
    calls = [call(1, of=SHORT), call(2, of=SHORT), call(3, 4, of=SHORT)]
    servable, ended = await run_behind_a_busy_one(Limits(), *calls, runs=4)

    assert servable.ran == [[1, 2, 3, 4], [1], [2], [3, 4]]
    assert ended.of(calls) == [[2], [4], [3]]


async def test_missing_output_rows_of_a_padded_call_fail() -> None:
    servable = Gated(open=True)

    async with serving(servable, batches(max_rows=4, allowed_rows=(4,))) as batcher:
        with pytest.raises(ExecutionFailed, match=r"'y' of shape \[3, 1\] for 4 rows"):
            await batcher.submit(call(1, 2, of=SHORT))


async def test_bad_call_fails_alone() -> None:
    calls = [call(1), call(-2), call(3, 4), call(666), call(5)]
    servable, ended = await run_behind_a_busy_one(Limits(), *calls, runs=6)

    assert servable.ran == [[1, -2, 3, 4, 666, 5], [1], [-2], [3, 4], [666], [5]]
    good = [calls[0], calls[2], calls[4]]
    assert ended.of(good) == [[2], [6, 8], [10]]
    assert isinstance(ended[calls[1]], InputMismatch)
    assert str(ended[calls[1]]) == "-2 is below zero"
    assert isinstance(ended[calls[3]], ExecutionFailed)


async def test_cancelled_call_of_a_failed_batch_is_not_rerun() -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)
        gone = anyio.CancelScope()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(0))
            await servable.until_ran(1)

            for number in (1, -2, 4):
                tasks.start_soon(ended.submit, call(number))

            tasks.start_soon(ended.submit, call(3), gone)
            await anyio.wait_all_tasks_blocked()
            servable.let_through(2)
            await servable.until_ran(3)
            assert batcher.stats() == QueueStats(running=4, tokens=1)

            gone.cancel()
            await anyio.wait_all_tasks_blocked()
            assert batcher.stats() == QueueStats(running=4, orphans=1, tokens=1)
            servable.let_through(1)
            await servable.until_ran(4)
            # The first has its answer: neither running nor given up.
            assert batcher.stats() == QueueStats(running=3, orphans=1, tokens=1)
            servable.let_through(2)

        assert servable.ran == [[0], [1, -2, 4, 3], [1], [-2], [4]]


@pytest.mark.parametrize("tokens", [2, 3])
async def test_several_tokens_run_several_batches(tokens: int) -> None:
    servable = Gated()
    limits = Limits(concurrency=tokens, batching=Batching(max_rows=2))

    async with serving(servable, limits) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            for number in range(tokens):
                tasks.start_soon(ended.submit, call(number))
                await servable.until_ran(number + 1)

            for number in range(2 * tokens):
                tasks.start_soon(ended.submit, call(number))

            await anyio.wait_all_tasks_blocked()
            assert batcher.stats().waiting == 2 * tokens
            servable.let_through(tokens)
            await servable.until_ran(2 * tokens)
            assert batcher.stats() == QueueStats(running=2 * tokens, tokens=tokens)
            servable.let_through(tokens)

        assert servable.most == tokens
        assert sorted(map(len, servable.ran)) == [1] * tokens + [2] * tokens
