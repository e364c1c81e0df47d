from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from service.telemetry.logs import configure_logging, is_logged, request_id
from tests.support.logging_state import restored_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    with restored_logging():
        yield


def lines(stream: io.StringIO) -> list[Any]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_all_loggers_share_one_chain() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)
    request_id.set("abc")

    structlog.get_logger().info("ours", model="half")
    logging.getLogger("uvicorn.error").warning("theirs %d", 1)

    ours, theirs = lines(stream)
    assert list(ours) == ["timestamp", "level", "event", "model", "request_id"]
    assert (ours["level"], ours["event"]) == ("info", "ours")
    assert (theirs["level"], theirs["event"]) == ("warning", "theirs 1")
    assert theirs["logger"] == "uvicorn.error"
    assert theirs["request_id"] == ours["request_id"] == "abc"
    assert theirs["timestamp"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_level_applies_to_all_loggers(form: Any) -> None:
    stream = io.StringIO()
    configure_logging(form, "warning", stream)

    structlog.get_logger().info("ours")
    logging.getLogger("other").info("theirs")

    assert stream.getvalue() == ""


def test_is_logged() -> None:
    configure_logging("json", "warning", io.StringIO())
    asked = [is_logged(level) for level in (logging.INFO, logging.WARNING)]
    configure_logging("json", "debug", io.StringIO())
    assert [*asked, is_logged(logging.DEBUG)] == [False, True, True]


@pytest.mark.parametrize("method", ["debug", "info", "warn", "exception", "critical"])
def test_levels_are_named_as_structlog_names_them(method: str) -> None:
    stream = io.StringIO()
    configure_logging("json", "debug", stream)
    getattr(structlog.get_logger(), method)("event")
    (line,) = lines(stream)
    named = structlog.processors.add_log_level(None, method, {})
    assert line["level"] == named["level"]
    assert "exc_info" not in line


def fail(data: bytes) -> None:
    raise RuntimeError("outer") from ValueError("inner")


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_are_complete_without_values(form: Any) -> None:
    stream = io.StringIO()
    configure_logging(form, "info", stream)
    try:
        fail(b"private".upper())
    except RuntimeError as exc:
        error = exc

    structlog.get_logger().error("ours", exc_info=error)
    logging.getLogger("other").error("theirs", exc_info=error)

    text = stream.getvalue()
    assert text.count("ValueError: inner") == text.count("RuntimeError: outer") == 2
    assert "PRIVATE" not in text
    if form == "json":
        assert len(lines(stream)) == 2


@pytest.mark.parametrize("path", ["/a\nb", "/\x1b[2J", "/\u2028b"])
@pytest.mark.parametrize("form", ["json", "console"])
def test_client_input_stays_on_one_line(form: Any, path: str) -> None:
    stream = io.StringIO()
    configure_logging(form, "info", stream)

    structlog.get_logger().info("request", path=path, é="é")

    text = stream.getvalue()
    assert len(text.splitlines()) == 1 or form == "json"
    assert text.count("\n") == 1
    assert "\x1b[2J" not in text
    assert "é" in text


def test_values_json_does_not_know_are_shown() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", stream)

    structlog.get_logger().info("event", path=io, keys={1: 2})
    structlog.get_logger().info("event", name="\udcff", number=2**70)

    one, two = lines(stream)
    assert one["path"].startswith("<module 'io'")
    assert one["keys"] == {"1": 2}
    assert (two["name"], two["number"]) == ("\udcff", 2**70)
    assert one["timestamp"][:10] == two["timestamp"][:10]


@pytest.mark.parametrize(
    ("form", "stream", "is_json", "is_coloured"),
    [
        pytest.param("auto", Terminal(), False, True, id="auto, a terminal"),
        pytest.param("auto", io.StringIO(), True, False, id="auto, a pipe"),
        pytest.param("console", io.StringIO(), False, False, id="console, a pipe"),
        pytest.param("json", Terminal(), True, False, id="json, a terminal"),
    ],
)
def test_forms(
    form: Any, stream: io.StringIO, is_json: bool, is_coloured: bool
) -> None:
    configure_logging(form, "info", stream)

    structlog.get_logger().info("event")

    text = stream.getvalue()
    assert text.startswith("{") is is_json
    assert ("\x1b[" in text) is is_coloured


def test_the_access_log_of_uvicorn_is_off() -> None:
    stream = io.StringIO()
    access = logging.getLogger("uvicorn.access")
    access.addHandler(logging.StreamHandler(stream))
    configure_logging("json", "info", stream)

    access.info("GET /")

    # uvicorn checks this before it logs.
    assert not access.hasHandlers()
    assert stream.getvalue() == ""


def test_configuring_twice_logs_once() -> None:
    stream = io.StringIO()
    configure_logging("json", "info", io.StringIO())
    configure_logging("json", "info", stream)

    structlog.get_logger().info("ours")
    logging.getLogger("uvicorn.error").info("theirs")

    assert [line["event"] for line in lines(stream)] == ["ours", "theirs"]
