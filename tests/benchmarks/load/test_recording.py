from __future__ import annotations

import numpy as np
import pytest

from benchmarks.load.recording import (
    RESET,
    UNANSWERED,
    Recording,
    figures,
    joined,
    percentile,
)

SECOND = 1e3


def recording(*rows: tuple[float, float, float, int]) -> Recording:
    made = Recording()

    for row in rows:
        made.add(*row)

    return made


@pytest.mark.parametrize(
    ("percent", "wanted"), [(50, 50), (90, 90), (99, 99), (99.9, 100)]
)
def test_percentiles_are_values_that_were_seen(percent: float, wanted: float) -> None:
    seconds = np.arange(1, 101) / SECOND
    assert percentile(seconds, percent) == pytest.approx(wanted)


def test_no_values_have_no_percentile() -> None:
    assert percentile(np.array([]), 50) is None


def test_latency_counts_from_when_a_request_was_due() -> None:
    found = figures(recording((1, 3, 4, 200)), begin=0, end=5, bound=10)
    assert (found.p50, found.p99_sent) == (3 * SECOND, 1 * SECOND)


def test_goodput_is_what_was_due_in_the_window_and_came_in_time() -> None:
    made = recording(
        (0.5, 0.5, 0.6, 200),  # due before the window
        (1.0, 1.0, 1.5, 200),
        (1.5, 1.5, 3.2, 200),  # too late
        (2.5, 2.5, 3.4, 200),  # in time, though the window is over
        (2.6, 2.6, 2.7, 429),
    )
    found = figures(made, begin=1, end=3, bound=1)

    assert (found.offered, found.goodput, found.throughput) == (2.0, 1.0, 0.5)
    assert found.refusal_p99 == pytest.approx(100)
    assert found.statuses == {"200": 4, "429": 1}


def test_what_has_no_answer_is_counted_apart() -> None:
    made = recording((1, 1, 2, RESET), (1, 1, 2, UNANSWERED), (1, 1, 2, 500))
    found = figures(made, begin=0, end=2, bound=1)

    assert (found.resets, found.unanswered) == (1, 1)
    assert (found.statuses, found.p50, found.goodput) == ({"500": 1}, None, 0)


def test_parts_of_a_stream_are_one() -> None:
    parts = [recording((1, 1, 2, 200)), recording((1, 2, 3, 429))]
    parts[0].checked, parts[1].wrong = 3, 1
    whole = joined(parts)

    assert list(whole.statuses) == [200, 429]
    assert list(whole.ended) == [2, 3]
    assert (whole.checked, whole.wrong) == (3, 1)
