"""Snapshots of the engine as Prometheus' text, or OpenMetrics. Pure.

Label values are names and versions from the repository and the states, never a text
that could be anything: why a model failed says its status.
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

VERSION = ("model", "version")

# Gauges with a value a version: what they are, and where it is in a status.
GAUGES: Mapping[str, tuple[str, Callable[[ModelStatus], float]]] = {
    "tandem_model_failed": (
        "1 while the version can't answer for a reason that its status names.",
        lambda status: status.error is not None,
    ),
    "tandem_model_update_failed": (
        "1 while the version answers with older files, as the present ones failed.",
        lambda status: status.update_error is not None,
    ),
    "tandem_model_memory_bytes": (
        "Memory that the version takes; 0 while it isn't loaded.",
        lambda status: status.memory_bytes or 0,
    ),
    "tandem_model_running": (
        "Requests of the version that are in TensorFlow.",
        lambda status: status.queue.running,
    ),
    "tandem_model_waiting": (
        "Requests of the version that wait in its queue.",
        lambda status: status.queue.waiting,
    ),
    "tandem_model_orphans": (
        "Running requests that nobody waits for any more.",
        lambda status: status.queue.orphans,
    ),
    "tandem_model_tokens": (
        "Calls of the version that run, of those it may run at a time.",
        lambda status: status.queue.tokens,
    ),
}

ENGINE: Mapping[str, tuple[str, Callable[[EngineStatus], float]]] = {
    "tandem_models_memory_bytes": (
        "Memory that all loaded versions take.",
        lambda overview: overview.memory_bytes,
    ),
    "tandem_models_memory_budget_bytes": (
        "Memory that loaded versions may take.",
        lambda overview: overview.memory_budget,
    ),
    "tandem_repository_up": (
        "1 while the models' folder can be read.",
        lambda overview: overview.repository_error is None,
    ),
    "tandem_draining": (
        "1 while the server says that it isn't ready because it drains.",
        lambda overview: overview.draining,
    ),
}

COUNTERS: Mapping[str, tuple[str, Callable[[EngineStatus], float]]] = {
    "tandem_model_loads_total": (
        "Versions that were loaded.",
        lambda overview: overview.loads,
    ),
    "tandem_model_load_failures_total": (
        "Loads that failed.",
        lambda overview: overview.load_failures,
    ),
    "tandem_model_evictions_total": (
        "Versions that were unloaded to make room for others.",
        lambda overview: overview.evictions,
    ),
    "tandem_model_reloads_total": (
        "Loads of what had made room for others. Many are thrash: too small a budget.",
        lambda overview: overview.reloads,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot(Collector):
    """What the figures are made of, all of one moment."""

    models: Sequence[ModelStatus]
    overview: EngineStatus

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
    """The figures, and the process' own, with their content type by `accept`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(snapshot)
    ProcessCollector(registry=registry)
    write, content_type = choose_encoder(accept)
    return write(registry), content_type


def _labels(status: ModelStatus) -> list[str]:
    return [status.id.name, str(status.id.version)]
