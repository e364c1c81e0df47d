"""Everything that a run measured, point by point."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from benchmarks.load.contenders import BOUND, TANDEM

if TYPE_CHECKING:
    from benchmarks.harness.recording import Window
    from benchmarks.load.workloads import Workload

Kind: TypeAlias = Literal["closed", "tail", "overload", "alone", "together"]


class Key(NamedTuple):
    """The name of a measurement.

    `level` is connections (closed, alone, together), percent of capacity (tail) or
    times it (overload); `stream` tells apart what ran at once.
    """

    workload: str
    kind: Kind
    level: float
    server: str
    stream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measurement. `asked` is the rate that was meant, requests a second; `cpu_us`
    is the server's CPU time for an answer, in microseconds."""

    key: Key
    window: Window
    asked: float | None = None
    cpu_us: float | None = None


@dataclass(slots=True, kw_only=True)
class Results:
    """All points in the order they were measured.

    `limits` has rows a second by model and size of batch, one for each round;
    `generator_rate` is the requests a second that the generator can send.
    """

    generator_rate: float | None = None
    limits: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    def found(self, key: Key) -> list[Point]:
        """Return the same measurement of every round."""
        return [point for point in self.points if point.key == key]

    def median(self, key: Key, name: str) -> float | None:
        """Return the median of the rounds' statistic of that name, if there is one."""
        return _median([getattr(point.window, name) for point in self.found(key)])

    def cpu_us(self, key: Key) -> float | None:
        return _median([point.cpu_us for point in self.found(key)])

    def capacity(self, workload: str, server: str) -> float | None:
        """Return the most answers a second that any number of connections got."""
        keys = self.keys(workload, "closed")
        rates = [self.median(key, "throughput") for key in keys if key.server == server]
        return max((rate for rate in rates if rate is not None), default=None)

    def times(self, point: Point) -> float | None:
        """Return the rate asked over the capacity; `level` is what was meant."""
        return ratio(point.asked, self.capacity(point.key.workload, point.key.server))

    def limit(self, model: str) -> float | None:
        """Return rows a second in process, at the best size of batch."""
        rates = [
            statistics.median(each) for each in self.limits.get(model, {}).values()
        ]
        return max(rates, default=None)

    def keys(self, workload: str, kind: Kind) -> list[Key]:
        """Return the keys of a kind, in the order of the first measurement."""
        keys = (point.key for point in self.points)
        return list(dict.fromkeys(k for k in keys if k[:2] == (workload, kind)))

    def servers(self, workload: str, kind: Kind) -> list[str]:
        """Return the servers that were measured so, ours first."""
        names = list(dict.fromkeys(key.server for key in self.keys(workload, kind)))
        first = [name for name in (TANDEM, BOUND) if name in names]
        return [*first, *(name for name in names if name not in first)]


def standard(workload: Workload, server: str) -> Key:
    """Return the key of the closed loop that servers are compared at."""
    return Key(workload.name, "closed", workload.standard, server)


def ratio(upper: float | None, lower: float | None) -> float | None:
    """Divide; `None` where one of the two is missing."""
    return upper / lower if upper is not None and lower else None


def _median(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
