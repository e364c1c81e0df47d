"""The server's metrics: collected, and written as Prometheus' or OpenMetrics' text.

Pure. Label values are names and versions of models that exist, and few fixed words;
errors are in a model's status.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, cast

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from inference import ModelState
from service.telemetry.families import FAMILIES, Family, Kind
from service.telemetry.figures import Distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from inference import CallHistograms, EngineStatus, ModelId, ModelStatus
    from service.caching.store import StoreFigures
    from service.telemetry.figures import Figures, Value

OPENMETRICS = "application/openmetrics-text"
PLAIN = "text/plain"

MODEL_GAUGES: Mapping[str, Callable[[ModelStatus], float]] = {
    "tandem_model_failed": lambda status: status.error is not None,
    "tandem_model_update_failed": lambda status: status.update_error is not None,
    "tandem_model_memory_bytes": lambda status: status.memory_bytes or 0,
    "tandem_model_running": lambda status: status.queue.running,
    "tandem_model_waiting": lambda status: status.queue.waiting,
    "tandem_model_orphans": lambda status: status.queue.orphans,
    "tandem_model_tokens": lambda status: status.queue.tokens,
}

ENGINE: Mapping[str, Callable[[EngineStatus], float]] = {
    "tandem_model_loads": lambda overview: overview.loads,
    "tandem_model_load_failures": lambda overview: overview.load_failures,
    "tandem_model_evictions": lambda overview: overview.evictions,
    "tandem_model_reloads": lambda overview: overview.reloads,
    "tandem_models_memory_bytes": lambda overview: overview.memory_bytes,
    "tandem_models_memory_budget_bytes": lambda overview: overview.memory_budget,
    "tandem_repository_up": lambda overview: overview.repository_error is None,
    "tandem_draining": lambda overview: overview.draining,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFigures:
    """Jobs by status, and the age of the oldest queued one, in seconds."""

    counts: Mapping[str, int]
    oldest_queued_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of one process at one moment.

    `requests` are the figures of its counters, `lookups` the response cache's requests
    by outcome, if there is one, `answers` what is kept if that is in its memory, and
    `payloads` the payload log's records by outcome, if there is one.
    """

    models: Sequence[ModelStatus]
    overview: EngineStatus
    calls: Mapping[ModelId, CallHistograms] = field(default_factory=dict)
    requests: Figures = field(default_factory=dict)
    lookups: Mapping[str, int] | None = None
    answers: StoreFigures | None = None
    payloads: Mapping[str, int] | None = None
    log_lines_dropped: int = 0
    bodies_bytes: int = 0
    version: str = ""

    def figures(self) -> Figures:
        """Return the process' own figures. Any thread may ask for them."""
        found = self._models() | self.brief() | process_figures()
        found["tandem_workers"] = {(): 1.0}
        found["tandem_build_info"] = {(self.version,): 1.0}
        found["tandem_log_lines_dropped"] = {(): float(self.log_lines_dropped)}
        found["tandem_bodies_bytes"] = {(): float(self.bodies_bytes)}

        if self.lookups is not None:
            found["tandem_response_cache_requests"] = {
                (outcome,): float(count) for outcome, count in self.lookups.items()
            }

        if self.payloads is not None:
            found["tandem_payload_log_records"] = {
                (outcome,): float(count) for outcome, count in self.payloads.items()
            }

        if self.answers is not None:
            found |= cache_figures(self.answers)

        return found

    def brief(self) -> Figures:
        """Return the figures of requests, calls and the engine alone."""
        engine: Figures = {
            name: {(): float(value_of(self.overview))}
            for name, value_of in ENGINE.items()
        }
        return self._calls() | self.requests | engine

    def _models(self) -> Figures:
        found: Figures = {
            name: {
                _labels(status.id): float(value_of(status)) for status in self.models
            }
            for name, value_of in MODEL_GAUGES.items()
        }
        found["tandem_model_state"] = {
            (*_labels(status.id), str(state)): float(state is status.state)
            for status in self.models
            for state in ModelState
        }
        return found

    def _calls(self) -> Figures:
        names = ("queue_seconds", "compute_seconds", "batch_rows")
        return {
            f"tandem_model_{name}": {
                _labels(id): Distribution(*calls[index])
                for id, calls in self.calls.items()
            }
            for index, name in enumerate(names)
        }


def process_figures() -> Figures:
    """Return the memory, CPU time and files of this process."""
    found: Figures = {}

    for metric in ProcessCollector(registry=None).collect():
        if metric.name in FAMILIES:
            [sample] = metric.samples
            found[metric.name] = {(): sample.value}

    return found


def job_figures(jobs: JobFigures | None) -> Figures:
    """Return the figures of a store of jobs; `None` is one that can't be read."""
    found: Figures = {"tandem_job_store_up": {(): float(jobs is not None)}}

    if jobs is not None:
        found["tandem_jobs"] = {
            (status,): float(count) for status, count in jobs.counts.items()
        }
        found["tandem_jobs_oldest_queued_seconds"] = {(): jobs.oldest_queued_seconds}

    return found


def cache_figures(store: StoreFigures | None) -> Figures:
    """Return the figures of a store of answers; `None` is one that is away."""
    found: Figures = {"tandem_response_cache_up": {(): float(store is not None)}}

    if store is not None:
        found["tandem_response_cache_bytes"] = {(): float(store.nbytes)}
        found["tandem_response_cache_entries"] = {(): float(store.entries)}

    return found


def encode(figures: Figures, *, as_openmetrics: bool) -> tuple[bytes, str]:
    """Return a text with all figures, and its content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(figures))

    if as_openmetrics:
        text = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return text, openmetrics.CONTENT_TYPE_LATEST

    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


def prefers_openmetrics(accepted: Iterable[tuple[str, float]]) -> bool:
    """Return whether a client takes OpenMetrics 1 rather than plain text.

    `accepted` are media types with their parameters and quality. The client library's
    own choice heeds no quality, and renames samples for `escaping=values`.
    """
    best = {OPENMETRICS: 0.0, PLAIN: 0.0}

    for text, quality in accepted:
        kind, *options = (part.strip().lower() for part in text.split(";"))
        versions = [each for each in options if each.startswith("version=")]
        if kind == OPENMETRICS and versions not in ([], ["version=1.0.0"]):
            continue

        if kind in best:
            best[kind] = max(best[kind], quality)

    return best[OPENMETRICS] > best[PLAIN]


class _Collected(Collector):
    """Figures as the client library takes them, in the order of `FAMILIES`."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for name, family in FAMILIES.items():
            if name in self._figures:
                yield _metric(family, self._figures[name])


def _metric(family: Family, values: Mapping[tuple[str, ...], Value]) -> Metric:
    name, text, labels, unit = family.name, family.text, family.labels, family.unit

    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(name, text, labels=labels, unit=unit)
        for key, value in sorted(values.items()):
            assert isinstance(value, Distribution)
            histogram.add_metric(key, _buckets(family, value), value.sum)

        return histogram

    kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = kind(name, text, labels=labels, unit=unit)
    for key, value in sorted(values.items()):
        assert not isinstance(value, Distribution)
        metric.add_metric(key, value)

    return metric


def _buckets(family: Family, value: Distribution) -> list[tuple[str, float, Exemplar]]:
    bounds = [*map(floatToGoString, family.bounds), "+Inf"]
    return [
        # The library takes `None` for none, though its types don't say so.
        (bound, count, cast("Exemplar", _exemplar(value, bucket)))
        for bucket, (bound, count) in enumerate(
            zip(bounds, accumulate(value.counts), strict=True)
        )
    ]


def _exemplar(value: Distribution, bucket: int) -> Exemplar | None:
    found = value.exemplars.get(bucket)
    if found is None:
        return None

    return Exemplar({"trace_id": found.trace_id}, found.value, found.time)


def _labels(id: ModelId) -> tuple[str, str]:
    return id.name, str(id.version)
