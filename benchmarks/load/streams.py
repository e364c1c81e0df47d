"""What is sent: streams of requests, as data that can travel to other processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.load.exchanges import Exchange

Pace: TypeAlias = Literal["poisson", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """`connections` that each send the next request when the last is answered."""

    port: int
    exchanges: Sequence[Exchange]
    connections: int

    def shares(self, count: int) -> list[Closed]:
        """The same in `count` parts, or fewer where there are fewer connections."""
        sizes = _split(self.connections, count)
        return [replace(self, connections=size) for size in sizes if size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """`rate` requests a second, whatever becomes of them.

    `connections` is the most that are opened; a request that finds none free waits
    for one, and its latency counts from when it was due.
    """

    port: int
    exchanges: Sequence[Exchange]
    rate: float
    connections: int = 1024
    pace: Pace = "poisson"
    seed: int = 1

    def shares(self, count: int) -> list[Open]:
        """The same in `count` parts, each with arrivals of its own."""
        sizes = _split(self.connections, count)
        return [
            replace(
                self, rate=self.rate / count, connections=size, seed=self.seed + part
            )
            for part, size in enumerate(sizes)
            if size
        ]

    def arrivals(self, seconds: float) -> list[float]:
        """When requests are due, in seconds from the start, up to `seconds`."""
        count = int(self.rate * seconds) + 1

        if self.pace == "constant":
            return [position / self.rate for position in range(count)]

        # So many gaps are enough in all but one of a million draws.
        most = count + int(5 * count**0.5) + 10
        gaps = np.random.default_rng(self.seed).exponential(1 / self.rate, most)
        due = np.cumsum(gaps)
        instants: list[float] = due[due < seconds].tolist()
        return instants


Stream: TypeAlias = Closed | Open


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`settle` seconds that don't count, `seconds` that do, then at most `drain` more
    for what is still unanswered."""

    seconds: float
    settle: float = 0.5
    drain: float = 5.0

    @property
    def end(self) -> float:
        return self.settle + self.seconds


def _split(total: int, count: int) -> list[int]:
    share, rest = divmod(total, count)
    return [share + (part < rest) for part in range(count)]
