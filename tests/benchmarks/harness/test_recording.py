from __future__ import annotations

import pytest

from benchmarks.harness.recording import DROPPED, RESET, UNANSWERED, Recording, window

SECOND = 1e3


def recording(*rows: tuple[float, float, float, int]) -> Recording:
    made = Recording()

    for row in rows:
        made.add(*row)

    return made


def test_latency_counts_from_when_a_request_was_due() -> None:
    found = window(recording((1, 3, 4, 200)), begin=0, end=5, bound=10)
    assert found.p50 == 3 * SECOND


def test_goodput_counts_requests_due_in_the_window_and_answered_in_time() -> None:
    made = recording(
        (0.5, 0.5, 0.6, 200),  # due before the window
        (1.0, 1.0, 1.5, 200),
        (1.5, 1.5, 3.2, 200),  # too late
        (2.5, 2.5, 3.4, 200),  # in time, though the window is over
        (2.6, 2.6, 2.7, 429),
    )
    found = window(made, begin=1, end=3, bound=1)

    assert (found.offered, found.goodput, found.throughput) == (2.0, 1.0, 0.5)
    assert found.refusal_p99 == pytest.approx(100)
    assert found.statuses == {200: 4, 429: 1}


def test_requests_without_an_answer_are_counted_apart() -> None:
    odd = (RESET, UNANSWERED, DROPPED, 500)
    made = recording(*((1, 1, 2, status) for status in odd))
    found = window(made, begin=0, end=2, bound=1)

    assert (found.resets, found.unanswered, found.dropped) == (1, 1, 1)
    assert (found.offered, found.sent) == (2, 1.5)
    assert (found.statuses, found.p50, found.goodput) == ({500: 1}, None, 0)
