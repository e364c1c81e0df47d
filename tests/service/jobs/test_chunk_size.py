from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference import Batching
from service.jobs.chunk_size import (
    CALL_SECONDS,
    LONG,
    MOST_ROWS,
    SHARED_SECONDS,
    ChunkSize,
)
from tests.service.bulk.models import signature

if TYPE_CHECKING:
    from inference import Shape

BATCH = 8
ANY: Shape = (None,)
LONG_CALL = 2 * LONG * CALL_SECONDS


@pytest.mark.parametrize(
    ("batchable", "allowed", "shape", "seconds", "rows", "then"),
    [
        pytest.param(True, (), ANY, 0.0, 8, 16, id="short calls grow"),
        pytest.param(True, (), ANY, CALL_SECONDS, 8, 8, id="longer ones stay"),
        pytest.param(True, (), ANY, LONG_CALL, 8, 8, id="a batch at least"),
        pytest.param(True, (), ANY, 0.0, 7, 8, id="a last chunk tells nothing"),
        pytest.param(True, (2, 16), ANY, 0.0, 16, 16, id="sizes that are allowed"),
        pytest.param(False, (), ANY, 0.0, 8, 8, id="rows that can't be joined"),
        pytest.param(True, (), (3,), 0.0, 3, 3, id="one size only"),
    ],
)
def test_chunks_grow_while_calls_are_short(
    batchable: bool,
    allowed: tuple[int, ...],
    shape: Shape,
    seconds: float,
    rows: int,
    then: int,
) -> None:
    batching = Batching(max_rows=BATCH, allowed_rows=allowed)
    size = ChunkSize(signature(batchable=batchable, shape=shape), batching)

    size.note(rows, seconds)

    assert size.rows() == then


def test_chunks_stay_at_a_batch_where_they_may_not_grow() -> None:
    size = ChunkSize(signature(), Batching(max_rows=BATCH), grows=False)

    size.note(BATCH, 0.0)

    assert size.rows() == BATCH


def grown(calls: int) -> ChunkSize:
    size = ChunkSize(signature(), Batching(max_rows=BATCH))

    for _ in range(calls):
        size.note(size.rows(), 0.0)

    return size


def test_chunks_grow_to_a_bound() -> None:
    assert grown(100).rows() == MOST_ROWS


def test_chunks_shrink_where_calls_get_long_but_not_below_a_batch() -> None:
    size, rows = grown(2), []

    for _ in range(3):
        size.note(size.rows(), LONG_CALL)
        rows.append(size.rows())

    assert rows == [16, 8, 8]


def test_chunks_have_a_batch_at_most_beside_synchronous_calls() -> None:
    size = grown(100)
    size.note(BATCH, 0.0, shared=True)

    assert size.rows(shared=True) == BATCH


def test_long_chunks_shrink_to_a_row_beside_synchronous_calls() -> None:
    size, rows = grown(100), []

    for _ in range(5):
        size.note(size.rows(shared=True), 2 * LONG * SHARED_SECONDS, shared=True)
        rows.append(size.rows(shared=True))

    assert rows == [4, 2, 1, 1, 1]
    assert size.rows() == BATCH


def test_a_signature_of_one_size_keeps_it_beside_synchronous_calls() -> None:
    size = ChunkSize(signature(shape=(3,)), Batching())
    size.note(3, LONG_CALL, shared=True)

    assert size.rows(shared=True) == 3
