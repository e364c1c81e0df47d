"""Times of calls, rounds that take turns, percentiles, and waits."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inference.types import Array

K = TypeVar("K")
T = TypeVar("T")
LEAST_CALLS = 3


def median_seconds(call: Callable[[], object], seconds: float) -> float:
    """Return the median time of the calls that fit into `seconds`, or of three."""
    taken: list[float] = []
    end = time.perf_counter() + seconds

    while len(taken) < LEAST_CALLS or time.perf_counter() < end:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)

    return statistics.median(taken)


def alternate(contenders: Mapping[K, Callable[[], T]], rounds: int) -> dict[K, list[T]]:
    """Run the contenders in turn, round by round; return each one's results.

    Noise of the machine then falls on all of them, and ratios come from one run.
    """
    results: dict[K, list[T]] = {name: [] for name in contenders}

    for _ in range(rounds):
        for name, run in contenders.items():
            results[name].append(run())

    return results


def median_ratio(upper: Sequence[float], lower: Sequence[float]) -> float:
    """Return the median of the rounds' own ratios."""
    pairs = zip(upper, lower, strict=True)
    return statistics.median(one / other for one, other in pairs)


def percentile(seconds: Array, percent: float) -> float | None:
    """Return the least value, in milliseconds, that `percent` of all don't exceed."""
    if not len(seconds):
        return None

    return float(np.percentile(seconds, percent, method="inverted_cdf")) * 1e3


def tails(seconds: Array) -> list[float]:
    """Return p50, p99 and the most, in milliseconds; NaN where there is none."""
    return [percentile(seconds, percent) or np.nan for percent in (50, 99, 100)]


def wait_until(
    condition: Callable[[], bool], seconds: float, *, every: float = 0.1
) -> bool:
    """Poll `condition` for up to `seconds`; return its last value."""
    end = time.monotonic() + seconds

    while not (met := condition()) and time.monotonic() < end:
        time.sleep(every)

    return met
