"""Counters of a model's requests and runs, since the model was found."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from inference.histogram import ROWS, SECONDS, CallHistograms, Histogram
from inference.types import BatchStatistics, Duration, InferenceStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.batching.call import Call
    from inference.batching.runner import Ran

_SECOND = 1e9

MAX_SIZES = 1024
"""Sizes of batches that are told apart; clients choose how many rows they send."""


class _Timer:
    """A number of events, and the seconds that all took."""

    __slots__ = ("count", "seconds")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0

    def add(self, count: int, seconds: float) -> None:
        self.count += count
        self.seconds += seconds

    def duration(self) -> Duration:
        return Duration(count=self.count, ns=round(self.seconds * _SECOND))


class CallStatistics:
    """Counters that a model's batchers add to, on the event loop.

    Requests count that reached the queue; times are on the loop's clock, in seconds.
    """

    def __init__(self) -> None:
        self._rows = self._runs = 0
        self._succeeded, self._failed, self._queued = _Timer(), _Timer(), _Timer()
        self._batches: defaultdict[int, tuple[_Timer, _Timer, _Timer]] = defaultdict(
            lambda: (_Timer(), _Timer(), _Timer())
        )
        self._queue_seconds = Histogram(SECONDS)
        self._compute_seconds = Histogram(SECONDS)
        self._batch_rows = Histogram(ROWS)

    def succeed(
        self, batch: Sequence[Call], ran: Ran, *, started: float, now: float
    ) -> None:
        """Count a batch that was handed to a thread when it `started`."""
        # Whoever ran out of time meanwhile has failed.
        arrivals = [call.arrived for call in batch if not call.ended]
        calls, arrived = len(arrivals), sum(arrivals)
        # A call that can't be joined to others is one, whatever its rows.
        rows = sum([call.rows or 1 for call in batch])
        self._rows += rows
        self._runs += 1
        self._succeeded.add(calls, calls * now - arrived)
        self._queued.add(calls, calls * started - arrived)
        self._queue_seconds.extend([started - each for each in arrivals])
        self._compute_seconds.extend((sum(ran.seconds),))
        self._batch_rows.extend((rows,))
        if rows not in self._batches and len(self._batches) >= MAX_SIZES:
            return

        for timer, seconds in zip(self._batches[rows], ran.seconds, strict=True):
            timer.add(1, seconds)

    def fail(self, seconds: float) -> None:
        """Count a request that failed, or ran out of time, after `seconds`."""
        self._failed.add(1, seconds)

    def histograms(self) -> CallHistograms:
        return CallHistograms(
            queue=self._queue_seconds.buckets(),
            compute=self._compute_seconds.buckets(),
            rows=self._batch_rows.buckets(),
        )

    def snapshot(self) -> InferenceStatistics:
        batches = sorted(self._batches.items())
        return InferenceStatistics(
            rows=self._rows,
            runs=self._runs,
            succeeded=self._succeeded.duration(),
            failed=self._failed.duration(),
            queued=self._queued.duration(),
            batches=tuple(
                BatchStatistics(
                    rows=rows,
                    joined=joined.duration(),
                    ran=ran.duration(),
                    divided=divided.duration(),
                )
                for rows, (joined, ran, divided) in batches
            ),
        )
