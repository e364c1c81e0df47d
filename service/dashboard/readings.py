"""Readings of the server's counters, and the rates between two of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from operator import add, sub
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

from inference import SECONDS
from service.telemetry.figures import Distribution

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from service.telemetry.figures import Figures

Key: TypeAlias = tuple[str, str]
"""A model's name and version, as metrics label them."""

TOTAL: Key = "", ""
"""The key of all models together."""

REQUESTS = "tandem_requests"
DURATIONS = "tandem_request_duration_seconds"
ROWS = "tandem_model_batch_rows"
MEMORY = "tandem_models_memory_bytes"
BUDGET = "tandem_models_memory_budget_bytes"

NONE = (0,) * (len(SECONDS) + 1)


def _sum(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    # Mostly there is nothing to add: of three figures that are added up one has them.
    if other is NONE:
        return one

    return other if one is NONE else tuple(map(add, one, other))


class Counts(NamedTuple):
    """Requests of a version, those answered with an error, and the calls of its model.

    `seconds` counts the good ones by the buckets of `SECONDS`, `rows` those of all its
    `runs`.
    """

    requests: float = 0
    errors: float = 0
    seconds: tuple[int, ...] = NONE
    runs: float = 0
    rows: float = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(
            self.requests + other.requests,
            self.errors + other.errors,
            _sum(self.seconds, other.seconds),
            self.runs + other.runs,
            self.rows + other.rows,
        )

    def minus(self, before: Counts) -> Counts:
        """Return what came since `before`; all there is if the counters began anew."""
        if before.requests > self.requests or before.runs > self.runs:
            return self

        seconds = tuple(max(0, each) for each in map(sub, self.seconds, before.seconds))
        return Counts(
            self.requests - before.requests,
            max(0, self.errors - before.errors),
            seconds,
            self.runs - before.runs,
            max(0, self.rows - before.rows),
        )


NOTHING = Counts()
RESTING: dict[str, Any] = {
    "requests_per_second": 0.0,
    "errors_per_second": 0.0,
    "p50": None,
    "p99": None,
    "batch_rows": None,
}
"""The rates of a version without requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Counters of all versions at a moment on the loop's clock, and memory in bytes."""

    at: float
    models: Mapping[Key, Counts] = field(default_factory=dict)
    memory_bytes: float = 0
    budget_bytes: float = 0

    @classmethod
    def of(cls, figures: Figures, at: float) -> Self:
        models: dict[Key, Counts] = {TOTAL: Counts()}
        for key, counts in _counts(figures):
            models[key] = models.get(key, Counts()).plus(counts)
            models[TOTAL] = models[TOTAL].plus(counts)

        return cls(
            at=at,
            models=models,
            memory_bytes=_plain(figures, MEMORY),
            budget_bytes=_plain(figures, BUDGET),
        )

    def since(self, before: Reading) -> Rates:
        """Return the rates of all versions since an earlier reading."""
        models = {}
        for key, counts in self.models.items():
            known = before.models.get(key, NOTHING)
            if counts != known:
                models[key] = counts.minus(known)

        return Rates(seconds=self.at - before.at, models=models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Counts of a span of `seconds`; versions without any may be left out."""

    seconds: float = 0
    models: Mapping[Key, Counts] = field(default_factory=dict)

    def document(self, key: Key) -> dict[str, Any]:
        """Return a version's rates; times in seconds, `None` where there are none."""
        counts = self.models.get(key, NOTHING)
        if counts is NOTHING:
            return RESTING

        rows = counts.rows / counts.runs if counts.runs else None
        return {
            "requests_per_second": self._per_second(counts.requests),
            "errors_per_second": self._per_second(counts.errors),
            "p50": _rounded(quantile(counts.seconds, 0.5)),
            "p99": _rounded(quantile(counts.seconds, 0.99)),
            "batch_rows": _rounded(rows),
        }

    def _per_second(self, count: float) -> float:
        return round(count / self.seconds, 2) if self.seconds > 0 else 0.0


def quantile(counts: Sequence[int], part: float) -> float | None:
    """Return the seconds that a `part` of all counted values don't exceed, or `None`.

    Values are taken to be spread evenly in their bucket, as Prometheus does; those
    beyond the last bound to be as large as it is.
    """
    total = sum(counts)
    if not total:
        return None

    wanted = part * total
    for index, upto in enumerate(accumulate(counts)):
        if upto >= wanted and counts[index]:
            break

    if index == len(SECONDS):
        return SECONDS[-1]

    low = SECONDS[index - 1] if index else 0.0
    within = (wanted - (upto - counts[index])) / counts[index]
    return low + (SECONDS[index] - low) * within


def _counts(figures: Figures) -> Iterator[tuple[Key, Counts]]:
    for (model, version, _, status), count in figures.get(REQUESTS, {}).items():
        assert not isinstance(count, Distribution)
        if model and version:
            errors = count if not status.startswith("2") else 0
            yield (model, version), Counts(count, errors)

    for (model, version, _), found in _distributions(figures, DURATIONS):
        if model and version:
            yield (model, version), Counts(seconds=found.counts)

    for (model, version), found in _distributions(figures, ROWS):
        runs = sum(found.counts)
        if runs:
            yield (model, version), Counts(runs=runs, rows=found.sum)


def _distributions(
    figures: Figures, name: str
) -> Iterable[tuple[tuple[str, ...], Distribution]]:
    for labels, value in figures.get(name, {}).items():
        assert isinstance(value, Distribution)
        yield labels, value


def _plain(figures: Figures, name: str) -> float:
    value = figures.get(name, {}).get((), 0.0)
    assert not isinstance(value, Distribution)
    return value


def _rounded(value: float | None) -> float | None:
    """Return four significant digits: more would only make the text longer."""
    return None if value is None else float(f"{value:.4g}")
