"""Admission of requests to a model's queue, by length and expected wait."""

from __future__ import annotations

from inference.errors import Overloaded

WEIGHT = 0.1
"""Of a new measurement in the average."""

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 60.0
ADVICE = "Retry after the seconds in Retry-After."


class ServiceTime:
    """Moving average of a model's seconds per request.

    Requests in one batch, or that run beside each other, share the time.
    """

    def __init__(self) -> None:
        self.seconds_per_call = 0.0

    def add(self, seconds: float, *, calls: int, concurrent: int) -> None:
        """Record a batch of `calls` that ran `seconds`, one of `concurrent` batches."""
        each = seconds / (calls * concurrent)

        if not self.seconds_per_call:
            self.seconds_per_call = each

        self.seconds_per_call += WEIGHT * (each - self.seconds_per_call)


class AdmissionController:
    """Limit on a model's waiting requests. Pure; nothing waits here.

    `max_queue` is in requests; those that run don't count.
    """

    def __init__(self, *, max_queue: int, service_time: ServiceTime) -> None:
        self.max_queue = max_queue
        self._service_time = service_time

    def check(self, waiting: int, idle: int, seconds: float) -> None:
        """Raise `Overloaded` if the queue is full, or the wait exceeds `seconds`.

        `waiting` are the requests in the queue, `idle` the free tokens.
        """
        # One request for each idle token is about to run, and doesn't wait.
        wait = max(0, waiting - idle) * self._service_time.seconds_per_call

        if waiting >= self.max_queue + idle:
            raise Overloaded(
                f"The model is busy: {waiting} requests are waiting, the limit is "
                f"{self.max_queue}. {ADVICE}",
                retry_after=_retry_after(wait),
            )

        if wait > max(0.0, seconds):
            raise Overloaded(
                f"The model is busy: {waiting} requests are waiting, for about "
                f"{wait:.3g} s, and this one has {seconds:g} s. {ADVICE}",
                retry_after=_retry_after(wait - seconds),
            )


def _retry_after(seconds: float) -> float:
    return min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
