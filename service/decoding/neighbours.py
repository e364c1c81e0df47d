"""Whether a model has had the server to itself of late."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ALONE_AFTER_SECONDS = 1.0


class Neighbours:
    """Notes whose requests come, to tell whether anybody else's would be kept waiting.

    Reads `clock`, in seconds, only when one model's request follows another's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest = ""
        self._changed = -math.inf

    def note(self, model: str) -> None:
        """A request for `model` has come."""
        if model != self._latest:
            self._latest = model
            self._changed = self._clock()

    def alone(self) -> bool:
        """Whether all requests of the last second were for one model."""
        return self._clock() - self._changed > ALONE_AFTER_SECONDS
