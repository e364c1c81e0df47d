from __future__ import annotations

import pytest

from inference import histogram
from inference.histogram import Histogram


@pytest.mark.parametrize("most", [1, 1000], ids=["each alone", "all at once"])
def test_values_count_in_the_first_bucket_that_holds_them(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(histogram, "MAX_NEW", most)
    found = Histogram((0.5, 1.0))

    for values in ([0.0, 0.5], [0.75], [1.0, 1.5, 100.0]):
        found.extend(values)

    buckets = found.buckets()
    assert buckets.counts == (2, 2, 2)
    assert buckets.sum == pytest.approx(103.75)


def test_empty_histogram_has_all_buckets() -> None:
    assert Histogram((1, 2)).buckets() == ((0, 0, 0), 0.0)


def test_values_that_were_read_stay() -> None:
    found = Histogram((1,))
    found.extend([0.5])
    found.buckets()
    found.extend([2.0])

    assert found.buckets() == ((1, 1), 2.5)
