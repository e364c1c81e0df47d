"""The engine's metrics, in Prometheus' text format or OpenMetrics. Pure.

Label values are only names, versions and states; errors are in a model's status.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from inference import ModelState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from inference import EngineStatus, ModelStatus
    from service.caching.cache import CacheFigures

VERSION = ("model", "version")

# Gauges of each version: the help text, and the value by status.
GAUGES: Mapping[str, tuple[str, Callable[[ModelStatus], float]]] = {
    "tandem_model_failed": (
        "1 while the version can't answer; its status has the reason.",
        lambda status: status.error is not None,
    ),
    "tandem_model_update_failed": (
        "1 while the version answers with older files, because the new ones failed.",
        lambda status: status.update_error is not None,
    ),
    "tandem_model_memory_bytes": (
        "Memory of the version; 0 while it isn't loaded.",
        lambda status: status.memory_bytes or 0,
    ),
    "tandem_model_running": (
        "Requests of the version that TensorFlow is running.",
        lambda status: status.queue.running,
    ),
    "tandem_model_waiting": (
        "Requests of the version that wait in its queue.",
        lambda status: status.queue.waiting,
    ),
    "tandem_model_orphans": (
        "Running requests whose client no longer waits.",
        lambda status: status.queue.orphans,
    ),
    "tandem_model_tokens": (
        "Calls of the version that run, of those it may run at a time.",
        lambda status: status.queue.tokens,
    ),
}

ENGINE: Mapping[str, tuple[str, Callable[[EngineStatus], float]]] = {
    "tandem_models_memory_bytes": (
        "Memory of all loaded versions.",
        lambda overview: overview.memory_bytes,
    ),
    "tandem_models_memory_budget_bytes": (
        "Memory that loaded versions may take.",
        lambda overview: overview.memory_budget,
    ),
    "tandem_repository_up": (
        "1 while the model repository can be read.",
        lambda overview: overview.repository_error is None,
    ),
    "tandem_draining": (
        "1 while the server reports not ready because it is draining.",
        lambda overview: overview.draining,
    ),
}

COUNTERS: Mapping[str, tuple[str, Callable[[EngineStatus], float]]] = {
    "tandem_model_loads_total": (
        "Loads that succeeded.",
        lambda overview: overview.loads,
    ),
    "tandem_model_load_failures_total": (
        "Loads that failed.",
        lambda overview: overview.load_failures,
    ),
    "tandem_model_evictions_total": (
        "Versions that were unloaded to free memory for others.",
        lambda overview: overview.evictions,
    ),
    "tandem_model_reloads_total": (
        "Loads of evicted versions. Many mean that the budget is too small.",
        lambda overview: overview.reloads,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFigures:
    """Jobs by status, and the age of the oldest queued one, in seconds."""

    counts: Mapping[str, int]
    oldest_queued_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot(Collector):
    """The state of the engine at one moment, as a collector.

    `jobs` are `None` where the store can't be read; `keeps_jobs` says if there is one.
    `cache` is `None` without a response cache.
    """

    models: Sequence[ModelStatus]
    overview: EngineStatus
    keeps_jobs: bool = False
    jobs: JobFigures | None = None
    cache: CacheFigures | None = None
    log_lines_dropped: int = 0
    bodies_bytes: int = 0

    def collect(self) -> Iterator[Metric]:
        yield self._states()

        for name, (text, value_of) in GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=VERSION)
            for status in self.models:
                gauge.add_metric(_labels(status), float(value_of(status)))

            yield gauge

        for name, (text, figure) in ENGINE.items():
            yield GaugeMetricFamily(name, text, value=float(figure(self.overview)))

        for name, (text, figure) in COUNTERS.items():
            yield CounterMetricFamily(name, text, value=float(figure(self.overview)))

        yield CounterMetricFamily(
            "tandem_log_lines_dropped_total",
            "Log lines that couldn't be written, or not in time.",
            value=float(self.log_lines_dropped),
        )
        yield GaugeMetricFamily(
            "tandem_bodies_bytes",
            "Bytes of request bodies that are held.",
            value=float(self.bodies_bytes),
        )

        if self.keeps_jobs:
            yield from self._jobs()

        if self.cache is not None:
            yield from _cache(self.cache)

    def _jobs(self) -> Iterator[Metric]:
        up = float(self.jobs is not None)
        yield GaugeMetricFamily(
            "tandem_job_store_up", "1 while the store of jobs can be read.", value=up
        )

        if self.jobs is None:
            return

        gauge = GaugeMetricFamily("tandem_jobs", "Jobs by status.", labels=("status",))
        for status, count in self.jobs.counts.items():
            gauge.add_metric([str(status)], float(count))

        yield gauge
        yield GaugeMetricFamily(
            "tandem_jobs_oldest_queued_seconds",
            "Age of the oldest job that waits for a server; 0 when none waits.",
            value=self.jobs.oldest_queued_seconds,
        )

    def _states(self) -> Metric:
        text = "1 for the state that the version is in, 0 for the others."
        gauge = GaugeMetricFamily(
            "tandem_model_state", text, labels=(*VERSION, "state")
        )
        for status in self.models:
            for state in ModelState:
                value = float(state is status.state)
                gauge.add_metric([*_labels(status), str(state)], value)

        return gauge


def encode(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """Encode the engine's and the process' metrics; return the content type too."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(snapshot)
    ProcessCollector(registry=registry)
    write, content_type = choose_encoder(accept)
    return write(registry), content_type


def _cache(figures: CacheFigures) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "tandem_response_cache_requests",
        "Requests of models with cache_seconds, by how they were answered.",
        labels=("outcome",),
    )
    for outcome, count in figures.outcomes.items():
        requests.add_metric([outcome], count)

    store = figures.store
    yield requests
    yield GaugeMetricFamily(
        "tandem_response_cache_up",
        "1 while the response cache can be reached.",
        value=float(store is not None),
    )
    if store is None:
        return

    yield GaugeMetricFamily(
        "tandem_response_cache_bytes",
        "Bytes of the answers that are kept.",
        value=store.nbytes,
    )
    yield GaugeMetricFamily(
        "tandem_response_cache_entries",
        "Answers that are kept.",
        value=store.entries,
    )


def _labels(status: ModelStatus) -> list[str]:
    return [status.id.name, str(status.id.version)]
