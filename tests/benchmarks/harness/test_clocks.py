from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from benchmarks.harness.clocks import (
    alternate,
    median_ratio,
    median_seconds,
    percentile,
    tails,
    wait_until,
)

SECOND = 1e3


@pytest.mark.parametrize(
    ("percent", "wanted"), [(50, 50), (90, 90), (99, 99), (99.9, 100)]
)
def test_percentiles_are_values_of_the_sample(percent: float, wanted: float) -> None:
    seconds = np.arange(1, 101) / SECOND
    assert percentile(seconds, percent) == pytest.approx(wanted)


def test_no_values_have_no_percentile() -> None:
    assert percentile(np.array([]), 50) is None


def test_tails_are_the_median_the_p99_and_the_most() -> None:
    assert tails(np.arange(1, 1001) / SECOND) == pytest.approx([500, 990, 1000])


def test_no_values_have_no_tails() -> None:
    assert np.isnan(tails(np.array([]))).tolist() == [True] * 3


def test_contenders_take_turns() -> None:
    turns = count()
    found = alternate({"a": lambda: next(turns), "b": lambda: next(turns)}, 3)

    assert found == {"a": [0, 2, 4], "b": [1, 3, 5]}


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 1.0, 2.0]) == 2.0


def test_a_slow_call_is_timed_three_times() -> None:
    calls: list[int] = []
    assert median_seconds(lambda: calls.append(1), 0.0) > 0
    assert len(calls) == 3


def test_a_wait_ends_once_its_condition_is_met() -> None:
    asked = count()
    assert wait_until(lambda: next(asked) == 2, 60, every=0)
    assert next(asked) == 3


def test_a_wait_ends_in_time() -> None:
    assert not wait_until(lambda: False, 0.01, every=0.001)
