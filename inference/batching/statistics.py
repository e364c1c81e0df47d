"""What is measured of a model while it serves."""

from __future__ import annotations

WEIGHT = 0.1


class ServiceTime:
    """Seconds of a model's time that one request takes: a moving average.

    Requests that run in one batch, or beside each other, share the time.
    """

    def __init__(self) -> None:
        self.seconds_per_call = 0.0

    def add(self, seconds: float, *, calls: int, beside: int) -> None:
        """A batch of `calls` ran for `seconds`, as one of `beside` at a time."""
        each = seconds / (calls * beside)

        if not self.seconds_per_call:
            self.seconds_per_call = each

        self.seconds_per_call += WEIGHT * (each - self.seconds_per_call)
