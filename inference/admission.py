"""Whether a model takes one more request, and when a refused client may come back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.errors import Overloaded

if TYPE_CHECKING:
    from inference.statistics import ServiceTime

SHORTEST_SECONDS = 0.1
LONGEST_SECONDS = 60.0


class AdmissionController:
    """Bounds how many requests of a model wait. Pure; nothing waits here.

    `max_queue` is in requests; those that run don't count.
    """

    def __init__(self, *, max_queue: int, service_time: ServiceTime) -> None:
        self.max_queue = max_queue
        self._service_time = service_time

    def check(self, waiting: int, idle: int) -> None:
        """Raises `Overloaded` if one more than `waiting` can't wait.

        One for each of `idle` tokens doesn't wait, but is about to run.
        """
        if waiting < self.max_queue + idle:
            return

        raise Overloaded(
            f"The model is busy: {waiting} requests wait already, and it takes no more "
            f"than {self.max_queue}. Try again later, after what Retry-After says.",
            retry_after=self.retry_after(waiting),
        )

    def retry_after(self, waiting: int) -> float:
        """Seconds in which `waiting` requests will have run, by what was measured."""
        seconds = waiting * self._service_time.seconds_per_call
        return min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
