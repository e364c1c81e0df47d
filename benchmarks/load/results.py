"""The figures of a run, kept as JSON: tables and plots are drawn from them."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from benchmarks.load.recording import Figures

if TYPE_CHECKING:
    from pathlib import Path

Kind: TypeAlias = Literal["closed", "tail", "overload", "alone", "together"]
FILE = "results.json"
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Which measurement: `level` is connections (closed, alone, together), percent of
    capacity (tail) or times it (overload); `stream` tells apart what ran at once."""

    workload: str
    kind: Kind
    level: float
    server: str
    stream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measurement. `asked` is the rate that was meant, requests a second;
    `cpu_us` what an answer cost the server, microseconds of its CPUs."""

    key: Key
    figures: Figures
    asked: float | None = None
    cpu_us: float | None = None


@dataclass(slots=True, kw_only=True)
class Results:
    """All points in the order they were measured.

    `limits` has rows a second by model and size of batch, a figure per round; `about`
    is where, when and how; `notes` what a reader must know, such as who was absent.
    """

    about: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    generator_rate: float | None = None
    limits: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    def found(self, key: Key) -> list[Point]:
        """The same measurement of every round."""
        return [point for point in self.points if point.key == key]

    def median(self, key: Key, name: str) -> float | None:
        """The middle of the rounds' figures of that name, if there is one."""
        values = [getattr(point.figures, name) for point in self.found(key)]
        known = [value for value in values if value is not None]
        return statistics.median(known) if known else None

    def capacity(self, workload: str, server: str) -> float | None:
        """The most answers a second that any number of connections got."""
        keys = {
            point.key
            for point in self.points
            if (point.key.workload, point.key.kind, point.key.server)
            == (workload, "closed", server)
        }
        rates = [self.median(key, "throughput") for key in keys]
        return max((rate for rate in rates if rate is not None), default=None)

    def times(self, point: Point) -> float | None:
        """How many times the capacity was asked for: `level` is what was meant."""
        capacity = self.capacity(point.key.workload, point.key.server)
        return point.asked / capacity if point.asked and capacity else None

    def limit(self, model: str) -> float | None:
        """Rows a second in process, at the best size of batch."""
        rates = (
            [statistics.median(each) for each in self.limits[model].values()]
            if (model in self.limits)
            else []
        )
        return max(rates, default=None)

    def servers(self, workload: str, kind: Kind) -> list[str]:
        """Who was measured so, in the order of the first time."""
        names = (
            point.key.server
            for point in self.points
            if (point.key.workload, point.key.kind) == (workload, kind)
        )
        return list(dict.fromkeys(names))

    def write(self, folder: Path) -> None:
        text = json.dumps(_short(asdict(self)), indent=1)
        (folder / FILE).write_text(f"{text}\n", encoding="utf-8")


def read_results(folder: Path) -> Results:
    """What `write` wrote there."""
    document = json.loads((folder / FILE).read_text(encoding="utf-8"))
    points = [
        Point(
            key=Key(**each["key"]),
            figures=Figures(**each["figures"]),
            asked=each["asked"],
            cpu_us=each["cpu_us"],
        )
        for each in document.pop("points")
    ]
    return Results(**document, points=points)


def _short(value: Any) -> Any:
    """The same with so many digits as mean something."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")

    if isinstance(value, dict):
        return {name: _short(each) for name, each in value.items()}

    if isinstance(value, list):
        return [_short(each) for each in value]

    return value
