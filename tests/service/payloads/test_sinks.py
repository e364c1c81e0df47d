from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest

from service.payloads.sinks import (
    FileSink,
    SinkAway,
    SinkRefused,
    UrlSink,
    open_sink,
)
from tests.service.payloads.records import record
from tests.support.receivers import receiving

if TYPE_CHECKING:
    from pathlib import Path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_has_a_line_a_record(tmp_path: Path) -> None:
    path = tmp_path / "payloads.jsonl"
    sink = open_sink(str(path))
    sink.send(record(request_id="a"))
    sink.send(record(request_id="b"))

    assert [each["request_id"] for each in lines(path)] == ["a", "b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_moved_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "payloads.jsonl"
    sink = FileSink(str(path))
    sink.send(record(request_id="a"))
    path.rename(tmp_path / "old")
    sink.send(record(request_id="b"))

    assert [each["request_id"] for each in lines(path)] == ["b"]


def test_a_folder_that_is_gone_may_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    sink = FileSink(str(folder / "payloads.jsonl"))
    with pytest.raises(SinkAway, match="No such file"):
        sink.send(record())

    folder.mkdir()
    sink.send(record())


def test_a_full_disk_is_away() -> None:
    with pytest.raises(SinkAway, match="No space left"):
        FileSink("/dev/full").send(record())


def test_a_url_gets_cloud_events() -> None:
    with receiving() as receiver:
        sink = open_sink(receiver.url)
        sink.send(record())
        sink.close()

    told = receiver.event("one")
    headers = receiver.headers[0]
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert told.pop("id")
    assert told == {
        "specversion": "1.0",
        "source": "/v1/models/a%20b",
        "type": "tandem.prediction",
        "subject": "one",
        "time": "2026-01-02T03:04:05.000600Z",
        "datacontenttype": "application/json",
        "traceparent": record().traceparent,
        "data": record().document(),
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, SinkRefused), (302, SinkRefused), (429, SinkAway), (503, SinkAway)],
)
def test_answers_of_a_url(status: int, error: type[Exception]) -> None:
    with receiving() as receiver:
        receiver.status = status
        sink = UrlSink(receiver.url)
        with pytest.raises(error, match=str(status)):
            sink.send(record())

        sink.close()


def test_a_url_that_nobody_answers_is_away() -> None:
    with receiving() as receiver:
        pass

    sink = UrlSink(receiver.url)
    with pytest.raises(SinkAway):
        sink.send(record())

    sink.close()
