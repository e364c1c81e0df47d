from __future__ import annotations

import random
import weakref

import numpy as np

from inference.batching.deadlines import SPARE, Deadlines
from tests.support.servables import call


async def test_the_earliest_comes_first() -> None:
    deadlines = Deadlines()
    calls = [call(seconds=each) for each in (5, 3, 9, 3, 1)]
    assert deadlines.earliest() is None
    assert [deadlines.add(each) for each in calls] == [True, True, False, False, True]
    assert len(deadlines) == 5
    assert deadlines.earliest() == calls[4].deadline

    assert deadlines.expire(calls[4].deadline - 0.1) == []
    assert deadlines.expire(calls[4].deadline) == [calls[4]]
    # Those of one moment in the order in which they came, if they were made in it.
    assert set(deadlines.expire(calls[0].deadline)) == {calls[1], calls[3], calls[0]}
    assert deadlines.earliest() == calls[2].deadline
    assert deadlines.expire(calls[2].deadline + 1) == [calls[2]]
    assert (len(deadlines), deadlines.earliest()) == (0, None)


async def test_discarded_calls_never_expire() -> None:
    deadlines = Deadlines()
    first, second = call(seconds=1), call(seconds=2)
    deadlines.add(first)
    deadlines.add(second)
    deadlines.discard(first)
    deadlines.discard(first)
    deadlines.discard(call())

    assert len(deadlines) == 1
    assert deadlines.expire(second.deadline) == [second]
    deadlines.discard(second)
    assert len(deadlines) == 0


async def test_discarded_call_is_freed_at_once() -> None:
    """Its inputs may be large, and its deadline far away."""
    deadlines = Deadlines()
    deadlines.add(call(1))
    large = call(1)
    array = np.zeros(10)
    large.inputs = {"x": array}
    gone = weakref.ref(array)
    deadlines.add(large)
    deadlines.discard(large)
    del large, array

    assert gone() is None


async def test_discarded_entries_are_swept() -> None:
    deadlines = Deadlines()
    chance = random.Random(5)
    live = [call(seconds=1000 + n) for n in range(100)]

    for each in live:
        deadlines.add(each)

    for _ in range(5000):
        deadlines.add(each := call(seconds=chance.randrange(10, 2000)))
        deadlines.discard(each)
        assert len(deadlines._heap) <= 2 * (len(live) + 1) + SPARE + 1

    assert deadlines.expire(live[-1].deadline) == live
