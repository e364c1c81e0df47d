"""Whether a model takes one more request, and when a refused client may come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.errors import Overloaded

if TYPE_CHECKING:
    from inference.batching.statistics import ServiceTime

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 60.0
ADVICE = "Try again later, after what Retry-After says."


class AdmissionController:
    """Bounds how many requests of a model wait. Pure; nothing waits here.

    `max_queue` is in requests; those that run don't count.
    """

    def __init__(self, *, max_queue: int, service_time: ServiceTime) -> None:
        self.max_queue = max_queue
        self._service_time = service_time

    def check(self, waiting: int, idle: int, seconds: float) -> None:
        """Raises `Overloaded` if one more than `waiting` can't wait.

        One for each of `idle` tokens doesn't wait, but is about to run. The others
        would wait in vain if they can't run within the `seconds` that they have.
        """
        wait = max(0, waiting - idle) * self._service_time.seconds_per_call

        if waiting >= self.max_queue + idle:
            raise Overloaded(
                f"The model is busy: {waiting} requests wait already, and it takes no "
                f"more than {self.max_queue}. {ADVICE}",
                retry_after=_retry_after(wait),
            )

        if wait > max(0.0, seconds):
            raise Overloaded(
                f"The model is busy: {waiting} requests wait already, for about "
                f"{wait:.3g} s, and this one has {seconds:g} s. {ADVICE}",
                retry_after=_retry_after(wait - seconds),
            )


def _retry_after(seconds: float) -> float:
    return min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
