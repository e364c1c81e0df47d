from __future__ import annotations

import pytest

from inference import SECONDS
from service.dashboard.readings import NONE, TOTAL, Counts, Reading, quantile
from service.telemetry.figures import Distribution, Figures

HALF = "half", "1"


def spread(**places: int) -> tuple[int, ...]:
    """Counts by bucket, `b3=2` in the fourth."""
    found = list(NONE)
    for place, count in places.items():
        found[int(place[1:])] = count

    return tuple(found)


@pytest.mark.parametrize(
    ("counts", "part", "wanted"),
    [
        pytest.param(NONE, 0.5, None, id="nothing"),
        pytest.param(spread(b0=2), 0.5, SECONDS[0] / 2, id="within_the_first_bucket"),
        pytest.param(spread(b3=10), 1.0, SECONDS[3], id="all_of_a_bucket"),
        pytest.param(spread(b3=10, b5=10), 0.5, SECONDS[3], id="at_a_bound"),
        pytest.param(
            spread(b3=99, b5=1), 0.995, (SECONDS[4] + SECONDS[5]) / 2, id="the_tail"
        ),
        pytest.param(spread(b17=1), 0.5, SECONDS[-1], id="beyond_the_last_bound"),
    ],
)
def test_quantile(counts: tuple[int, ...], part: float, wanted: float | None) -> None:
    assert quantile(counts, part) == (
        wanted if wanted is None else pytest.approx(wanted)
    )


def figures(good: int, bad: int, runs: int, rows: float) -> Figures:
    durations = Distribution(spread(b3=good), 0.001 * good)
    return {
        "tandem_requests": {
            (*HALF, "v1", "200"): float(good - 1),
            (*HALF, "v2", "200"): 1.0,
            (*HALF, "v1", "429"): float(bad),
            ("", "", "other", "200"): 1000.0,
            ("half", "", "v1", "404"): 1000.0,
        },
        "tandem_request_duration_seconds": {(*HALF, "v1"): durations},
        "tandem_model_batch_rows": {HALF: Distribution((runs, *[0] * 11), rows)},
        "tandem_models_memory_bytes": {(): 7.0},
        "tandem_models_memory_budget_bytes": {(): 70.0},
    }


def test_rates_of_all_protocols_together() -> None:
    before = Reading.of(figures(10, 0, 2, 4.0), at=100.0)
    now = Reading.of(figures(30, 10, 6, 24.0), at=110.0)
    rates = now.since(before)

    assert (now.memory_bytes, now.budget_bytes) == (7.0, 70.0)
    assert rates.document(HALF) == rates.document(TOTAL)
    assert rates.document(HALF) == {
        "requests_per_second": 3.0,
        "errors_per_second": 1.0,
        "p50": pytest.approx(0.00075),
        "p99": pytest.approx(0.000995),
        "batch_rows": 5.0,
    }


def test_a_model_without_requests_has_no_latency() -> None:
    reading = Reading.of(figures(10, 0, 2, 4.0), at=100.0)
    later = Reading.of(figures(10, 0, 2, 4.0), at=101.0)
    quiet = later.since(reading).document(HALF)

    assert quiet["requests_per_second"] == 0
    assert (quiet["p50"], quiet["p99"], quiet["batch_rows"]) == (None, None, None)
    assert later.since(reading).document(("other", "1")) == quiet


def test_counters_that_begin_anew_count_from_zero() -> None:
    """A model that is removed and comes back has new counters."""
    before = Reading.of(figures(1000, 10, 500, 900.0), at=100.0)
    now = Reading.of(figures(20, 0, 10, 20.0), at=110.0)

    assert now.since(before).document(HALF)["requests_per_second"] == 2.0
    assert now.since(before).models[HALF] == now.models[HALF]


def test_the_first_reading_has_no_rate() -> None:
    reading = Reading.of(figures(10, 5, 2, 4.0), at=100.0)

    assert reading.since(reading).document(TOTAL)["requests_per_second"] == 0.0
    assert Counts().minus(Counts()) == Counts()
