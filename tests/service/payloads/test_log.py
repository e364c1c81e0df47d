from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from structlog.testing import capture_logs

from service.payloads import log as log_module
from service.payloads.log import QUEUE_BYTES, PayloadLog
from service.payloads.sinks import SinkAway, SinkRefused
from tests.service.payloads.records import record

if TYPE_CHECKING:
    import pytest

    from service.payloads.record import Record

PATIENCE_SECONDS = 60


class Shelf:
    """A sink that keeps records, after the `errors` that it raises first."""

    def __init__(self, *errors: Exception, open: bool = True) -> None:
        self.errors = list(errors)
        self.gate = threading.Event()
        self.asked = threading.Event()
        self.closed = threading.Event()
        self.kept: list[str] = []
        if open:
            self.gate.set()

    def send(self, record: Record) -> None:
        self.asked.set()
        assert self.gate.wait(PATIENCE_SECONDS)
        if self.errors:
            raise self.errors.pop(0)

        self.kept.append(record.request_id)

    def close(self) -> None:
        self.closed.set()


def test_records_are_written_before_the_end() -> None:
    sink = Shelf()
    with PayloadLog(sink, 1024) as log:
        for name in "abc":
            log.put(record(request_id=name))

    assert sink.kept == ["a", "b", "c"]
    assert sink.closed.is_set()
    assert log.counts == {"written": 3, "dropped": 0, "refused": 0}


def test_records_beyond_the_queue_are_dropped_and_counted() -> None:
    sink = Shelf(open=False)
    with PayloadLog(sink, QUEUE_BYTES) as log:
        log.put(record(request_id="first"))
        assert sink.asked.wait(PATIENCE_SECONDS)
        for _ in range(6):
            log.put(record(request_id="later"))

        assert log.counts == {"written": 0, "dropped": 2, "refused": 0}
        sink.gate.set()

    assert sink.kept == ["first", *["later"] * 4]


def test_a_sink_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "RETRY_SECONDS", 0.0)
    sink = Shelf(SinkAway("no route"), SinkAway("no route"))
    with capture_logs() as lines:
        log = PayloadLog(sink, 1024)
        with log:
            log.put(record(request_id="a"))
            while not log.counts["written"]:
                sink.asked.wait(0.01)

    assert sink.kept == ["a"]
    assert [each["event"] for each in lines] == [
        "payload log unavailable",
        "payload log available",
    ]


def test_a_refused_record_is_left_out() -> None:
    sink = Shelf(SinkRefused("status 400"), ZeroDivisionError("a fault of ours"))
    with PayloadLog(sink, 1024) as log:
        for name in "abc":
            log.put(record(request_id=name))

    assert sink.kept == ["c"]
    assert log.counts == {"written": 1, "dropped": 0, "refused": 2}


def test_a_sink_that_is_away_at_the_end_is_asked_once_more() -> None:
    sink = Shelf(*[SinkAway("no route")] * 9)
    with PayloadLog(sink, 1024) as log:
        log.put(record())

    assert sink.closed.is_set()
    assert log.counts["refused"] == 1


def test_a_sink_that_hangs_does_not_hold_the_exit() -> None:
    sink = Shelf(open=False)
    with PayloadLog(sink, 1024) as log:
        log.put(record())
        assert sink.asked.wait(PATIENCE_SECONDS)

    assert not sink.gate.is_set()
    assert sink.kept == []
    sink.gate.set()
    assert sink.closed.wait(PATIENCE_SECONDS)
