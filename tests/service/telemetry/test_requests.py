from __future__ import annotations

import pytest

from inference import ModelSpec
from service.telemetry.figures import Distribution
from service.telemetry.requests import (
    OTHER,
    REASONS,
    RequestCounters,
    Source,
    source_of,
)
from tests.support.fakes import FakeEngine, FakeModel

SOURCE: Source = ("half", 2, "v1")
LABELS = ("half", "2", "v1")


class Origin:
    """A view of one model, whose version 7 is the one that would answer."""

    def source(self, version: int | None) -> Source:
        return "half", 7 if version is None else version, "v1"


def distribution(found: object) -> Distribution:
    assert isinstance(found, Distribution)
    return found


def test_requests_count_by_status_and_time_by_success() -> None:
    counters = RequestCounters()
    counters.sources[SOURCE].add((200, 200, 400), (0.25, 0.5, 9.0), (10, 300, 9999))
    figures = counters.figures()

    assert figures["tandem_requests"] == {(*LABELS, "200"): 2, (*LABELS, "400"): 1}
    seconds = distribution(figures["tandem_request_duration_seconds"][LABELS])
    assert (sum(seconds.counts), seconds.sum) == (2, 0.75)
    nbytes = distribution(figures["tandem_request_body_bytes"][LABELS])
    assert (nbytes.counts[:2], nbytes.sum) == ((1, 1), 310)


def test_failures_before_and_after_successes_have_no_times() -> None:
    counters = RequestCounters()

    for status in (500, 200, 429):
        counters.sources[SOURCE].add((status,), (1.0,), (1,))

    seconds = counters.figures()["tandem_request_duration_seconds"][LABELS]
    assert sum(distribution(seconds).counts) == 1


def test_noted_requests_are_counted_by_origin_and_version() -> None:
    counters, view = RequestCounters(), Origin()
    counters.noted += [
        (view, 1, 200, 0.5, 10),
        (view, 2, 200, 0.5, 10),
        (view, None, 503, 0.5, 10),
        (view, 1, 200, 0.5, 10),
    ]

    for _ in range(2):  # once read, they aren't counted again
        assert counters.figures()["tandem_requests"] == {
            ("half", "1", "v1", "200"): 2,
            ("half", "2", "v1", "200"): 1,
            ("half", "7", "v1", "503"): 1,
        }


def test_other_requests_have_no_histograms() -> None:
    counters = RequestCounters()
    counters.sources[OTHER].add((200,), (0.5,), (10,))
    figures = counters.figures()

    assert figures["tandem_requests"] == {("", "", "other", "200"): 1}
    assert figures["tandem_request_duration_seconds"] == {}


def test_every_reason_begins_at_0() -> None:
    counters = RequestCounters()
    counters.refuse("queue_full", "half")
    counters.refuse("queue_full", "half")
    figures = counters.figures()["tandem_refusals"]

    assert figures == {(reason, ""): 0 for reason in REASONS} | {
        ("queue_full", "half"): 2
    }


def test_exemplar_stands_in_the_bucket_of_its_time() -> None:
    counters = RequestCounters()
    counters.sources[SOURCE].exemplify(0.3, "trace")
    counters.sources[SOURCE].add((200,), (0.3,), (10,))
    found = counters.figures()["tandem_request_duration_seconds"][LABELS]
    [(bucket, exemplar)] = distribution(found).exemplars.items()

    assert distribution(found).counts[bucket] == 1
    assert (exemplar.trace_id, exemplar.value) == ("trace", 0.3)


def test_versions_that_are_gone_are_forgotten() -> None:
    counters = RequestCounters()
    for source in (SOURCE, ("half", 1, "v1"), ("half", None, "v1"), OTHER):
        counters.sources[source].add((200,), (0.5,), (10,))

    counters.forget({("half", 2)})

    assert set(counters.sources) == {SOURCE, ("half", None, "v1"), OTHER}


@pytest.mark.parametrize(
    ("spec", "source"),
    [
        pytest.param(ModelSpec(name="half"), ("half", 2, "v1"), id="newest"),
        pytest.param(ModelSpec(name="half", version=1), ("half", 1, "v1"), id="one"),
        pytest.param(
            ModelSpec(name="half", version=9), ("half", None, "v1"), id="no version"
        ),
        pytest.param(ModelSpec(name="x"), ("", None, "v1"), id="no model"),
    ],
)
def test_source_is_of_models_that_exist(spec: ModelSpec, source: Source) -> None:
    engine = FakeEngine(FakeModel(version=1), FakeModel(version=2))

    assert source_of(engine, spec, "v1") == source
