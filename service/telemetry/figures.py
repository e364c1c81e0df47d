"""The values of metrics: of one process, of several together, and as JSON. Pure."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import orjson

from service.telemetry.families import FAMILIES, Family, Kind, Merge

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

FORMAT = 1
"""Of the JSON; figures of another are left out."""


class Exemplar(NamedTuple):
    """A value of a histogram, the trace that it came from, seconds of the epoch."""

    trace_id: str
    value: float
    time: float


class Distribution(NamedTuple):
    """A histogram's counts by bucket, their values' sum, exemplars by bucket."""

    counts: tuple[int, ...]
    sum: float
    exemplars: Mapping[int, Exemplar] = {}


Labels: TypeAlias = tuple[str, ...]
Value: TypeAlias = float | Distribution
Figures: TypeAlias = dict[str, dict[Labels, Value]]
"""Values by a family's name and its labels' values."""

CHOICES: Mapping[Merge, Callable[[float, float], float]] = {
    Merge.SUM: operator.add,
    Merge.MAX: max,
    Merge.MIN: min,
}


def merge(processes: Iterable[Figures]) -> Figures:
    """Return the figures of several processes together."""
    found: Figures = {}

    for figures in processes:
        for name, values in figures.items():
            known = found.setdefault(name, {})
            for labels, value in values.items():
                before = known.get(labels)
                if before is not None:
                    value = _both(FAMILIES[name], before, value)

                known[labels] = value

    return found


def remains(figures: Figures) -> Figures:
    """Return what is left of a process that has ended: all but its gauges."""
    return {
        name: values
        for name, values in figures.items()
        if FAMILIES[name].kind is not Kind.GAUGE
    }


def of_models(figures: Figures, models: Collection[tuple[str, str]]) -> Figures:
    """Return the figures without those of other models than these names, versions.

    An empty name, or version, is of requests that no model, or none of its versions,
    was found for.
    """
    known = {*models, *((name, "") for name, _ in models), ("", "")}
    return {
        name: {
            labels: value
            for labels, value in values.items()
            if _model(FAMILIES[name], labels) in known
        }
        for name, values in figures.items()
    }


def dump(figures: Figures) -> bytes:
    document = {
        "format": FORMAT,
        "figures": {
            name: [[labels, _plain(value)] for labels, value in values.items()]
            for name, values in figures.items()
        },
    }
    return orjson.dumps(document)


def parse(data: bytes) -> Figures:
    """Return what `dump` was given; nothing for another version's."""
    document = orjson.loads(data)

    if document["format"] != FORMAT:
        return {}

    return {
        name: {tuple(labels): _value(value) for labels, value in values}
        for name, values in document["figures"].items()
        if name in FAMILIES
    }


def _both(family: Family, one: Value, other: Value) -> Value:
    if isinstance(one, Distribution) and isinstance(other, Distribution):
        counts = map(operator.add, one.counts, other.counts)
        exemplars = {**one.exemplars, **other.exemplars}
        return Distribution(tuple(counts), one.sum + other.sum, exemplars)

    assert not isinstance(one, Distribution)
    assert not isinstance(other, Distribution)
    return CHOICES[family.merge](one, other)


def _model(family: Family, labels: Labels) -> tuple[str, str]:
    by_name = dict(zip(family.labels, labels, strict=True))
    # A label `version` of its own isn't a model's.
    version = by_name.get("version", "") if "model" in by_name else ""
    return by_name.get("model", ""), version


def _plain(value: Value) -> object:
    if not isinstance(value, Distribution):
        return value

    exemplars = [[bucket, *each] for bucket, each in value.exemplars.items()]
    return [value.counts, value.sum, exemplars]


def _value(plain: Any) -> Value:
    if not isinstance(plain, list):
        return float(plain)

    counts, total, exemplars = plain
    return Distribution(
        tuple(counts), total, {bucket: Exemplar(*rest) for bucket, *rest in exemplars}
    )
