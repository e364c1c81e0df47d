"""Expired calls: in the queue, in a thread, and in a failed batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from inference.batching import clock as clock_module
from inference.errors import DeadlineExceeded
from inference.types import QueueStats
from tests.support.servables import OTHER, Ended, Gated, call, serving

if TYPE_CHECKING:
    from inference.batching.batcher import Batcher


class Clock:
    """Stands where anyio's clock and ours would; behind the loop's own, so that time
    never passes by itself. A call that is already late makes the batcher look.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e12
        monkeypatch.setattr(anyio, "current_time", lambda: self.now)
        monkeypatch.setattr(clock_module, "now", lambda: self.now)

    async def advance(self, batcher: Batcher, seconds: float) -> None:
        self.now += seconds

        with pytest.raises(DeadlineExceeded):
            await batcher.submit(call(of=OTHER, seconds=-1e9))

        await anyio.wait_all_tasks_blocked()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def is_late(outcome: object, words: str) -> bool:
    return isinstance(outcome, DeadlineExceeded) and str(outcome).endswith(words)


async def test_call_expired_in_the_queue_never_runs(clock: Clock) -> None:
    """It fails at once, though the token is taken."""
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)
        late, good = call(2, seconds=5), call(3, seconds=50)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1))
            await servable.until_ran(1)
            tasks.start_soon(ended.submit, late)
            tasks.start_soon(ended.submit, good)
            await anyio.wait_all_tasks_blocked()
            await clock.advance(batcher, 4)
            assert late not in ended
            await clock.advance(batcher, 1)

            assert is_late(ended[late], "of 5 s is over: it was still in the queue.")
            assert batcher.stats() == QueueStats(running=1, waiting=1, tokens=1)
            servable.let_through(2)

        assert servable.ran == [[1], [3]]
        assert ended[good] == [6]


async def test_runner_expires_calls_before_it_takes_a_batch(clock: Clock) -> None:
    """No timer has woken the batcher before."""
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)
        late, good = call(2, seconds=5), call(3, seconds=50)

        async with anyio.create_task_group() as tasks:
            for each in (call(1), late, good):
                tasks.start_soon(ended.submit, each)
                await servable.until_ran(1)

            await anyio.wait_all_tasks_blocked()
            clock.now += 5
            servable.let_through(2)

        assert servable.ran == [[1], [3]]
        assert is_late(ended[late], "it was still in the queue.")


async def test_call_past_its_deadline_never_runs() -> None:
    servable = Gated(open=True)

    async with serving(servable) as batcher:
        with pytest.raises(DeadlineExceeded, match="it was still in the queue"):
            await batcher.submit(call(1, seconds=0))

    assert servable.ran == []


async def test_calls_expire_by_timer() -> None:
    """The caller doesn't wait for the thread, started or not."""
    servable = Gated()

    async with serving(servable) as batcher:
        with pytest.raises(DeadlineExceeded, match=r"The request's time of 0.05 s is"):
            await batcher.submit(call(1, seconds=0.05))


async def test_earlier_deadline_added_later_expires_first() -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(1, seconds=3600))
            await servable.until_ran(1)

            with pytest.raises(DeadlineExceeded):
                await batcher.submit(call(2, seconds=0.05))

            assert batcher.stats() == QueueStats(running=1, tokens=1)
            servable.let_through(1)


async def test_call_expired_while_running_is_an_orphan(clock: Clock) -> None:
    """It fails at once; its token is kept until the thread ends."""
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)
        late, after = call(1, seconds=5), call(2)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, late)
            await servable.until_ran(1)
            await clock.advance(batcher, 5)

            assert is_late(ended[late], "of 5 s is over: the model was still running.")
            assert batcher.stats() == QueueStats(running=1, orphans=1, tokens=1)

            tasks.start_soon(ended.submit, after)
            await anyio.wait_all_tasks_blocked()
            assert servable.ran == [[1]]
            assert batcher.stats() == QueueStats(
                running=1, orphans=1, waiting=1, tokens=1
            )
            servable.let_through(1)
            await servable.until_ran(2)
            assert batcher.stats() == QueueStats(running=1, tokens=1)
            servable.let_through(1)

        assert (servable.most, ended[after]) == (1, [4])
        assert is_late(ended[late], "the model was still running.")


async def test_failed_orphan_stays_expired(clock: Clock) -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)
        late = call(-1, seconds=5)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, late)
            await servable.until_ran(1)
            await clock.advance(batcher, 5)
            servable.let_through(1)

        assert is_late(ended[late], "the model was still running.")


async def test_expired_call_of_a_failed_batch_is_not_rerun(clock: Clock) -> None:
    servable = Gated()

    async with serving(servable) as batcher:
        ended = Ended(batcher)
        late = call(3, seconds=5)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.submit, call(0))
            await servable.until_ran(1)

            for each in (call(1), call(-2), late, call(4)):
                tasks.start_soon(ended.submit, each)

            await anyio.wait_all_tasks_blocked()
            servable.let_through(2)
            await servable.until_ran(3)
            # No timer wakes the batcher: it checks the time before the next run.
            clock.now += 5
            servable.let_through(3)

        assert servable.ran == [[0], [1, -2, 3, 4], [1], [-2], [4]]
        assert is_late(ended[late], "the model was still running.")
