from __future__ import annotations

import logging
import threading

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from service.tracing.provider import (
    SILENT_SECONDS,
    Complaints,
    Tracing,
    logger_of,
    resource,
)
from tests.support.receivers import collecting


@pytest.fixture
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    return monkeypatch


def test_spans_are_sent(environ: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with Tracing("1.2") as tracing:
            tracing.tracer.start_span("last").end()

        [span] = collector.received
        assert span.name == "last"
        assert span.resource["service.version"] == "1.2"


def test_a_collector_that_never_answers_does_not_hold_the_exit(
    environ: pytest.MonkeyPatch,
) -> None:
    with collecting() as collector:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        collector.holding = True
        with Tracing("1.2") as tracing:
            tracing.tracer.start_span("first").end()
            assert collector.arrived.wait(60)

        # It goes on, but nobody waits for it.
        [last] = [each for each in threading.enumerate() if each.name == "last traces"]

    last.join(60)
    assert [each.name for each in collector.received] == ["first"]


def test_the_exporter_complains_once(
    environ: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logger_of(OTLPSpanExporter)
    with collecting() as collector:
        environ.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with Tracing("1.2"):
            logger.warning("first")
            logger.error("second")

    assert [each.message for each in caplog.records] == ["first"]
    assert logger.filters == []


def test_complaints_come_back_after_a_while() -> None:
    record = logging.makeLogRecord({})
    times = iter([0.0, 1.0, SILENT_SECONDS, SILENT_SECONDS + 1])
    complaints = Complaints(lambda: next(times))

    assert [complaints.filter(record) for _ in range(4)] == [True, False, True, False]


def test_none_sends_nothing(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("OTEL_TRACES_EXPORTER", "none")
    before = set(threading.enumerate())
    with Tracing("1.2") as tracing:
        span = tracing.tracer.start_span("unsent")
        assert set(threading.enumerate()) == before

    assert span.get_span_context().is_valid


def test_variables_say_who_sends(environ: pytest.MonkeyPatch) -> None:
    assert resource("1").attributes["service.name"] == "tandem"

    environ.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,team=b")
    assert resource("1").attributes["service.name"] == "a"
    assert resource("1").attributes["team"] == "b"

    environ.setenv("OTEL_SERVICE_NAME", "c")
    assert resource("1").attributes["service.name"] == "c"
