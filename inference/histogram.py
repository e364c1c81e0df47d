"""Histograms that cost next to nothing to add to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Bounds for durations: from a tiny model's call to a long queue."""

ROWS = tuple(float(1 << power) for power in range(11))
"""Bounds for the rows of a batch: 1 to 1024."""

MAX_NEW = 512
"""Values that are kept before they are sorted into their buckets."""


class Buckets(NamedTuple):
    """The number of values in each bucket, the last without a bound, and their sum."""

    counts: tuple[int, ...]
    sum: float


class CallHistograms(NamedTuple):
    """Seconds in the queue by request; seconds in the model, and rows, by its runs."""

    queue: Buckets
    compute: Buckets
    rows: Buckets


class Histogram:
    """Values, counted in the first bucket whose bound they don't exceed.

    For one thread.
    """

    # Sorted in many at a time, a value costs 0.1 µs; on its own it would be 5.

    __slots__ = ("_bounds", "_buckets", "_counts", "_new", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = np.asarray(bounds)
        self._counts = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0
        self._new: list[float] = []
        self._buckets: Buckets | None = None

    def extend(self, values: Iterable[float]) -> None:
        self._new += values
        if len(self._new) >= MAX_NEW:
            self._sort()

    def buckets(self) -> Buckets:
        """Return all that was added so far; the same object until there is more."""
        self._sort()
        if self._buckets is None:
            self._buckets = Buckets(tuple(self._counts.tolist()), self._sum)

        return self._buckets

    def _sort(self) -> None:
        if not self._new:
            return

        values = np.asarray(self._new)
        self._new = []
        found = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(found, minlength=len(self._counts))
        self._sum += float(values.sum())
        self._buckets = None
