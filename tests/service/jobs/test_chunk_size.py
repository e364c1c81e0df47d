from __future__ import annotations

import pytest

from inference import Batching
from service.jobs.chunk_size import CALL_SECONDS, MOST_ROWS, SHRINK_SECONDS, ChunkSize
from tests.service.bulk.models import signature


@pytest.mark.parametrize(
    ("batchable", "allowed", "seconds", "rows", "then"),
    [
        pytest.param(True, (), 0.0, 8, 16, id="short calls grow"),
        pytest.param(True, (), CALL_SECONDS, 8, 8, id="long calls stay"),
        pytest.param(True, (), 0.0, 7, 8, id="a last chunk tells nothing"),
        pytest.param(True, (2, 16), 0.0, 16, 16, id="sizes that are allowed"),
        pytest.param(False, (), 0.0, 8, 8, id="rows that can't be joined"),
    ],
)
def test_chunks_grow_while_calls_are_short(
    batchable: bool, allowed: tuple[int, ...], seconds: float, rows: int, then: int
) -> None:
    batching = Batching(max_rows=8, allowed_rows=allowed)
    size = ChunkSize(signature(batchable=batchable), batching)

    size.note(rows, seconds)

    assert size.rows == then


def test_chunks_grow_to_a_bound() -> None:
    size = ChunkSize(signature(), Batching(max_rows=8))

    for _ in range(100):
        size.note(size.rows, 0.0)

    assert size.rows == MOST_ROWS


def test_chunks_shrink_where_calls_get_long_but_not_below_a_batch() -> None:
    size = ChunkSize(signature(), Batching(max_rows=8))
    size.note(8, 0.0)
    size.note(16, 0.0)
    rows = []

    for _ in range(3):
        size.note(size.rows, 2 * SHRINK_SECONDS)
        rows.append(size.rows)

    assert rows == [16, 8, 8]
