from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from inference import SECONDS, EngineStatus, ModelState, QueueStats
from service.telemetry.families import FAMILIES, Family, Kind
from service.telemetry.figures import Distribution, Exemplar
from service.telemetry.metrics import Snapshot, encode, prefers_openmetrics
from service.telemetry.requests import RequestCounters
from tests.support.fakes import FakeModel
from tests.support.openmetrics import parse_openmetrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.core import Metric, Sample

    from service.telemetry.figures import Figures

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


def text_of(figures: Figures, *, as_openmetrics: bool = False) -> str:
    text, _ = encode(figures, as_openmetrics=as_openmetrics)
    return text.decode()


def families(*models: FakeModel, overview: EngineStatus = OVERVIEW) -> list[Metric]:
    snapshot = Snapshot(models=[model.status for model in models], overview=overview)
    return list(text_string_to_metric_families(text_of(snapshot.figures())))


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


def test_figures_of_the_server() -> None:
    snapshot = Snapshot(
        models=[],
        overview=OVERVIEW,
        bodies_bytes=1024,
        log_lines_dropped=3,
        lookups={"hit": 2, "miss": 1},
        payloads={"written": 4, "dropped": 0, "refused": 1},
        version="1.2.3",
    )
    text = text_of(snapshot.figures())

    for line in (
        "tandem_bodies_bytes 1024.0",
        "tandem_log_lines_dropped_total 3.0",
        'tandem_payload_log_records_total{outcome="written"} 4.0',
        'tandem_response_cache_requests_total{outcome="hit"} 2.0',
        'tandem_build_info{version="1.2.3"} 1.0',
        "tandem_workers 1.0",
    ):
        assert f"\n{line}\n" in text


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


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda each: each.name)
def test_families_are_named_by_the_conventions(family: Family) -> None:
    assert family.text.endswith(".")
    assert not family.name.endswith(("_total", "_count", "_sum", "_bucket"))
    assert family.bounds == tuple(sorted(family.bounds))
    assert bool(family.bounds) is (family.kind is Kind.HISTOGRAM)


def test_histograms_are_cumulative_and_exemplars_for_openmetrics_alone() -> None:
    counts = (2, 0, 3, *(0,) * (len(SECONDS) - 2))
    exemplars = {2: Exemplar("abc", 0.0004, 12.5)}
    figures: Figures = {
        "tandem_request_duration_seconds": {
            ("half", "1", "v1"): Distribution(counts, 1.5, exemplars)
        }
    }
    plain = text_of(figures)
    labels = 'model="half",protocol="v1",version="1"'

    assert "# TYPE tandem_request_duration_seconds histogram\n" in plain
    for bound, count in (("0.0001", 2), ("0.00025", 2), ("0.0005", 5), ("+Inf", 5)):
        name = "tandem_request_duration_seconds_bucket"
        sample = f'{name}{{le="{bound}",{labels}}} {count}.0\n'
        assert sample in plain

    assert f"tandem_request_duration_seconds_sum{{{labels}}} 1.5\n" in plain
    [metric] = parse_openmetrics(text_of(figures, as_openmetrics=True))
    assert metric.unit == "seconds"
    [exemplar] = [each.exemplar for each in metric.samples if each.exemplar]
    assert (exemplar.labels, exemplar.value) == ({"trace_id": "abc"}, 0.0004)


def test_openmetrics_are_valid() -> None:
    snapshot = Snapshot(models=[SERVING.status, BROKEN.status], overview=OVERVIEW)
    counters = RequestCounters()
    counters.sources["half", 2, "v1"].add((200, 429), (0.01, 0.02), (10, 10))
    counters.sources["half", 2, "v1"].exemplify(0.01, "abc")
    figures = snapshot.figures() | counters.figures()
    text, content_type = encode(figures, as_openmetrics=True)

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith(b"# EOF\n")
    assert b"\ntandem_model_reloads_total 4.0\n" in text
    found = {each.name: each for each in parse_openmetrics(text.decode())}
    assert found["tandem_model_reloads"].type == "counter"
    assert found["tandem_models_memory_bytes"].unit == "bytes"
    # In the order of the table, whatever was collected first.
    assert [*found] == [name for name in FAMILIES if name in found]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        pytest.param("", False, id="nothing"),
        pytest.param("*/*", False, id="anything"),
        pytest.param("text/plain", False, id="text"),
        pytest.param("application/openmetrics-text", True, id="openmetrics"),
        pytest.param(
            "application/openmetrics-text; version=1.0.0; charset=utf-8", True, id="1.0"
        ),
        pytest.param("application/openmetrics-text;version=0.0.1", False, id="0.0.1"),
        pytest.param("application/openmetrics-text;version=2.0.0", False, id="2.0"),
        pytest.param(
            "application/openmetrics-text;q=0.1,text/plain;q=0.9", False, id="less"
        ),
        pytest.param("application/openmetrics-text;q=0", False, id="refused"),
        pytest.param(
            "application/openmetrics-text;version=1.0.0,"
            "application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            True,
            id="Prometheus 2",
        ),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,"
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
            "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            True,
            id="Prometheus 3",
        ),
    ],
)
def test_openmetrics_by_preference(accept: str, wanted: bool) -> None:
    accepted = parse_accept_header(accept, MIMEAccept)

    assert prefers_openmetrics(accepted) is wanted


def test_process_metrics_are_included() -> None:
    assert figures()["process_resident_memory_bytes"] > 0
