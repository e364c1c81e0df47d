from __future__ import annotations

import math
from unittest.mock import MagicMock

from inference.batching.deadlines import Deadlines
from tests.support.servables import call


async def test_the_earliest_deadline_is_kept() -> None:
    deadlines = Deadlines()
    assert deadlines.earliest == math.inf
    assert [deadlines.add(each) for each in (5, 3, 9, 3, 1)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert deadlines.earliest == 1


async def test_calls_expire_at_their_deadline() -> None:
    deadlines = Deadlines()
    calls = [call(seconds=each) for each in (5, 3, 9)]

    for each in calls:
        deadlines.add(each.deadline)

    assert deadlines.expire(calls[1].deadline - 0.1, calls) == []
    assert deadlines.expire(calls[1].deadline, calls) == [calls[1]]
    assert deadlines.earliest == calls[0].deadline
    assert deadlines.expire(calls[2].deadline, [calls[0], calls[2]]) == [
        calls[0],
        calls[2],
    ]
    assert deadlines.earliest == math.inf


async def test_ended_calls_leave_no_deadline_once_it_has_passed() -> None:
    deadlines = Deadlines()
    gone, stays = call(seconds=1), call(seconds=2)
    deadlines.add(gone.deadline)
    deadlines.add(stays.deadline)

    assert deadlines.expire(gone.deadline, [stays]) == []
    assert deadlines.earliest == stays.deadline


async def test_live_calls_are_not_looked_through_before_the_earliest_deadline() -> None:
    deadlines = Deadlines()
    deadlines.add(call(seconds=1).deadline)

    live = MagicMock()

    assert deadlines.expire(0.0, live) == []
    live.__iter__.assert_not_called()
