from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from inference import EngineStatus, ModelState, QueueStats
from service.telemetry.metrics import Snapshot, encode
from tests.support.fakes import FakeModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.core import Metric, Sample

SERVING = FakeModel(
    name="half",
    version=2,
    queue=QueueStats(running=3, waiting=4, orphans=1, tokens=2),
    memory_bytes=4096,
    update_error='cut " \\ \n',
)
BROKEN = FakeModel(name="bad", state=ModelState.END, error="custom layer 'Magic'")
OVERVIEW = EngineStatus(
    memory_budget=1 << 30,
    memory_bytes=4096,
    loads=7,
    load_failures=2,
    evictions=5,
    reloads=4,
)


def families(*models: FakeModel, overview: EngineStatus = OVERVIEW) -> list[Metric]:
    snapshot = Snapshot(models=[model.status for model in models], overview=overview)
    text, _ = encode(snapshot, "")
    return list(text_string_to_metric_families(text.decode()))


def figures(*models: FakeModel, **kwargs: EngineStatus) -> Mapping[str, float]:
    """Return values by name, and those of models by name and version too."""
    return {
        "/".join([sample.name, *labels_of(sample)]): sample.value
        for family in families(*models, **kwargs)
        for sample in family.samples
    }


def labels_of(sample: Sample) -> list[str]:
    names = ("model", "version", "state")
    return [sample.labels[name] for name in names if name in sample.labels]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tandem_model_state/half/2/AVAILABLE", 1),
        ("tandem_model_state/half/2/END", 0),
        ("tandem_model_state/bad/1/END", 1),
        ("tandem_model_failed/half/2", 0),
        ("tandem_model_failed/bad/1", 1),
        ("tandem_model_update_failed/half/2", 1),
        ("tandem_model_update_failed/bad/1", 0),
        ("tandem_model_memory_bytes/half/2", 4096),
        ("tandem_model_running/half/2", 3),
        ("tandem_model_waiting/half/2", 4),
        ("tandem_model_orphans/half/2", 1),
        ("tandem_model_tokens/half/2", 2),
        ("tandem_model_loads_total", 7),
        ("tandem_model_load_failures_total", 2),
        ("tandem_model_evictions_total", 5),
        ("tandem_model_reloads_total", 4),
        ("tandem_models_memory_bytes", 4096),
        ("tandem_models_memory_budget_bytes", 1 << 30),
        ("tandem_repository_up", 1),
        ("tandem_draining", 0),
    ],
)
def test_metrics(name: str, value: float) -> None:
    assert figures(SERVING, BROKEN)[name] == value


def test_bytes_of_bodies_are_told() -> None:
    snapshot = Snapshot(models=[], overview=OVERVIEW, bodies_bytes=1024)
    text, _ = encode(snapshot, "")

    assert b"\ntandem_bodies_bytes 1024.0\n" in text


def test_dropped_log_lines_are_counted() -> None:
    snapshot = Snapshot(models=[], overview=OVERVIEW, log_lines_dropped=3)
    text, _ = encode(snapshot, "")

    assert b"tandem_log_lines_dropped_total 3.0" in text


def test_an_unreadable_repository_and_a_drain_are_metrics() -> None:
    overview = EngineStatus(memory_budget=1, repository_error="EIO", draining=True)

    found = figures(overview=overview)

    assert (found["tandem_repository_up"], found["tandem_draining"]) == (0, 1)


def test_one_state_of_each_version_is_1() -> None:
    found = figures(SERVING, BROKEN)
    states = [v for name, v in found.items() if name.startswith("tandem_model_state/")]

    assert sum(states) == 2
    assert len(states) == 2 * len(ModelState)


def test_error_texts_are_not_labels() -> None:
    names = {
        name
        for family in families(SERVING, BROKEN)
        for sample in family.samples
        if family.name.startswith("tandem_")
        for name in sample.labels
    }

    assert names == {"model", "version", "state"}


def test_every_metric_has_a_help_text() -> None:
    ours = [f for f in families(SERVING) if f.name.startswith("tandem_")]

    assert len(ours) == 18
    assert all(family.documentation.endswith(".") for family in ours)
    kinds = {family.name: family.type for family in ours}
    assert kinds["tandem_model_reloads"] == "counter"
    assert kinds["tandem_model_waiting"] == "gauge"


def test_openmetrics_by_accept_header() -> None:
    snapshot = Snapshot(models=[SERVING.status], overview=OVERVIEW)

    text, content_type = encode(snapshot, "application/openmetrics-text; version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert b"\ntandem_model_reloads_total 4.0\n" in text


def test_process_metrics_are_included() -> None:
    assert figures()["process_resident_memory_bytes"] > 0
