from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from inference.batching.queue import BatchQueue, join, split
from inference.errors import ExecutionFailed
from inference.limits import Batching
from tests.support.servables import ALONE, DOUBLE, OTHER, call

if TYPE_CHECKING:
    from inference.batching.call import Call

NOW = 1000.0


def queue_of(*calls: Call, **plans: Batching) -> BatchQueue:
    names = ("double", "other", "alone", "short")
    queue = BatchQueue({name: plans.get(name, Batching()) for name in names})

    for each in calls:
        queue.add(each)

    return queue


def at(each: Call, arrived: float, seconds: float = 100.0) -> Call:
    each.arrived, each.deadline = arrived, arrived + seconds
    return each


def taken(queue: BatchQueue, now: float = NOW) -> list[list[Call]]:
    batches = []

    while batch := queue.take(now):
        batches.append(batch)

    return batches


@pytest.mark.parametrize(
    ("allowed", "rows", "padded"),
    [
        pytest.param((), 3, 3, id="any number"),
        pytest.param((1, 4, 8), 1, 1, id="the smallest"),
        pytest.param((1, 4, 8), 2, 4, id="the next"),
        pytest.param((1, 4, 8), 4, 4, id="the same"),
        pytest.param((1, 4, 8), 8, 8, id="the largest"),
        pytest.param((1, 4, 8), 9, 9, id="larger than all"),
    ],
)
def test_padded_to_the_next_allowed_rows(
    allowed: tuple[int, ...], rows: int, padded: int
) -> None:
    assert Batching(allowed_rows=allowed).padded(rows) == padded


async def test_empty_queue_gives_no_batch() -> None:
    queue = queue_of()
    assert (len(queue), queue.take(NOW), queue.take_all()) == (0, [], [])
    assert queue.held_until() == math.inf


async def test_batches_come_in_the_order_of_their_first_calls() -> None:
    one, two = call(1), call(2, of=OTHER)
    alone, three, four = call(3, of=ALONE), call(4), call(5, of=OTHER)
    queue = queue_of(one, two, alone, three, four)

    assert len(queue) == 5
    assert taken(queue) == [[one, three], [two, four], [alone]]
    assert len(queue) == 0


async def test_signature_has_its_own_limit() -> None:
    calls = [call(1), call(2), call(3, of=OTHER), call(4, of=OTHER)]
    queue = queue_of(*calls, double=Batching(max_rows=1))
    assert taken(queue) == [[calls[0]], [calls[1]], calls[2:]]


async def test_discarded_call_is_not_taken() -> None:
    one, two, alone = call(1), call(2), call(3, of=ALONE)
    queue = queue_of(one, two, alone)
    assert one in queue

    for _ in range(2):
        queue.discard(one)
        queue.discard(alone)

    assert one not in queue
    assert taken(queue) == [[two]]


async def test_take_all_empties_the_queue() -> None:
    calls = [call(1), call(2, of=OTHER), call(3, of=ALONE), call(4)]
    queue = queue_of(*calls, double=Batching(max_delay_seconds=5))
    assert queue.take_all() == calls
    assert (len(queue), queue.take(math.inf)) == (0, [])


HELD = Batching(max_rows=4, max_delay_seconds=5)


async def test_batch_is_held_back_for_the_delay_of_its_first_call() -> None:
    """The Open Inference Protocol's conformance case 77."""
    one, two = at(call(1), NOW), at(call(2), NOW + 3)
    queue = queue_of(one, two, double=HELD)

    assert queue.held_until() == NOW + 5
    assert queue.take(NOW + 4.9) == []
    assert queue.take(NOW + 5) == [one, two]


async def test_full_batch_is_not_held_back() -> None:
    """The Open Inference Protocol's conformance case 76."""
    one, two = at(call(1), NOW), at(call(2, 3), NOW)
    queue = queue_of(one, two, double=HELD)
    assert queue.take(NOW) == []

    queue.add(three := at(call(4, 5), NOW))
    assert queue.held_until() == -math.inf
    # What doesn't fit any more is held back in its turn.
    assert taken(queue) == [[one, two]]
    assert queue.take(NOW + 5) == [three]


async def test_discarded_rows_do_not_fill_a_batch() -> None:
    gone, stays = at(call(1, 2, 3), NOW), at(call(4), NOW)
    queue = queue_of(gone, stays, double=HELD)
    queue.discard(gone)
    assert queue.take(NOW) == []


async def test_call_near_its_deadline_is_not_held_back() -> None:
    one, two = at(call(1), NOW), at(call(2), NOW, seconds=5)
    queue = queue_of(one, double=HELD)
    assert queue.take(NOW) == []

    queue.add(two)
    assert queue.take(NOW) == [one, two]


async def test_other_groups_overtake_a_held_back_one() -> None:
    held = at(call(1), NOW)
    others = [at(call(2, of=OTHER), NOW), at(call(3, of=ALONE), NOW)]
    wide, optional = at(call(*range(4), width=2), NOW), at(call(4, on=True), NOW)
    queue = queue_of(held, *others, wide, optional, double=HELD)

    assert taken(queue) == [[others[0]], [others[1]], [wide], [optional]]
    assert queue.held_until() == NOW + 5
    assert taken(queue, NOW + 5) == [[held]]


@pytest.mark.parametrize(
    ("allowed", "joined"),
    [
        pytest.param((), [1, 2, 3], id="as many as there are"),
        pytest.param((3,), [1, 2, 3], id="as many as allowed"),
        pytest.param((5,), [1, 2, 3, 3, 3], id="the last row again"),
    ],
)
async def test_join_and_split(allowed: tuple[int, ...], joined: list[float]) -> None:
    calls, plan = [call(1), call(2, 3)], Batching(allowed_rows=allowed)
    inputs = join(calls, plan)
    assert inputs["x"].tolist() == [[each] for each in joined]
    assert inputs["x"].dtype == np.float32

    outputs = {"y": inputs["x"] * 10, "n": np.arange(len(joined))}
    first, second = split(outputs, calls, plan)
    assert {name: each.tolist() for name, each in first.items()} == {
        "y": [[10]],
        "n": [0],
    }
    assert {name: each.tolist() for name, each in second.items()} == {
        "y": [[20], [30]],
        "n": [1, 2],
    }


async def test_strings_are_joined() -> None:
    calls = [call(1), call(2)]

    for each, word in zip(calls, (b"a", b"a longer one"), strict=True):
        each.inputs = {"x": np.array([[word]], object)}

    assert join(calls, Batching(allowed_rows=(3,)))["x"].tolist() == [
        [b"a"],
        [b"a longer one"],
        [b"a longer one"],
    ]


async def test_one_call_is_not_copied() -> None:
    each = call(1, 2)
    assert join([each], Batching())["x"] is each.inputs["x"]


@pytest.mark.parametrize(
    ("shape", "allowed"),
    [
        pytest.param((), (), id="a scalar"),
        pytest.param((2, 1), (), id="too few"),
        pytest.param((4, 1), (), id="too many"),
        pytest.param((3, 1), (4,), id="too few for the padding"),
    ],
)
async def test_outputs_without_a_row_each_fail(
    shape: tuple[int, ...], allowed: tuple[int, ...]
) -> None:
    calls = [call(1), call(2, 3, of=DOUBLE)]
    outputs = {"good": np.zeros(allowed or 3), "y": np.zeros(shape)}

    with pytest.raises(ExecutionFailed, match=r"gave output 'y' of shape \[.*\] for"):
        split(outputs, calls, Batching(allowed_rows=allowed))
