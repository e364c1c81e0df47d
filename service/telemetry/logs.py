"""Structured logging, for our own lines and those of libraries."""

from __future__ import annotations

import json
import logging
import os
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import orjson
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import TimeStamper, add_log_level, format_exc_info
from structlog.stdlib import ProcessorFormatter

from service.telemetry.log_stream import STANDARD_ERROR, open_standard_streams

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TextIO

    from structlog.typing import EventDict, Processor

    from service.settings.groups import LogFormat, LogLevel

# structlog's methods whose names differ from their levels'.
LEVELS = {"warn": "warning", "exception": "error"}

JSON_LINES = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

requests = structlog.get_logger("tandem.requests")

_lowest = logging.INFO
"""The level below which nothing is logged."""

# The current request's id; worker threads of the request see it too.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def add_request_id(logger: Any, method: str, event: EventDict) -> EventDict:
    """Add the current request's id to a log line."""
    # structlog's own processor walks the whole context: 4 µs.
    serving = request_id.get()
    if serving is not None:
        event["request_id"] = serving

    return event


def duplicate_stderr() -> None:
    """Make `sys.stderr` a duplicate of standard error, for the rest of the process."""
    # TensorFlow's libraries print to the descriptor itself, which is redirected while
    # they load; our own lines must still appear.
    open_standard_streams()
    sys.stderr = os.fdopen(
        os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
    )


class SharedLoggerFactory:
    """A factory that always returns the same logger."""

    # structlog makes a logger for each line: 2 µs.

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self._logger = structlog.WriteLogger(stream)

    def __call__(self, *args: Any) -> structlog.WriteLogger:
        return self._logger


def is_logged(level: int) -> bool:
    """Return whether lines of a level, such as `logging.INFO`, are logged."""
    # structlog makes a dictionary of its configuration to tell it: 1 µs a request.
    return level >= _lowest


def logs_requests() -> bool:
    """Return whether answered requests are logged."""
    return logging.INFO >= _lowest


def log_request(fields: Mapping[str, Any], id: str) -> None:
    """Log an answered request at level `info`, on the event loop's thread.

    Lines of one turn of the loop are written in one piece.
    """
    config = structlog.get_config()
    if config["processors"] != [json_line] or not _is_standard(config):
        requests.info("request", **fields, request_id=id)
        return

    # All that structlog would do for a line: 5 µs instead of 20.
    line = {
        "timestamp": datetime.now(UTC),
        "level": "info",
        "event": "request",
        **fields,
        "request_id": id,
    }
    STANDARD_ERROR.write_soon(_to_json_line(line))


def _is_standard(config: Mapping[str, Any]) -> bool:
    factory = config["logger_factory"]
    if not isinstance(factory, SharedLoggerFactory):
        return False

    stream: object = factory.stream
    return stream is STANDARD_ERROR


def configure_logging(
    form: LogFormat = "auto", level: LogLevel = "info", stream: TextIO | None = None
) -> None:
    """Send all logs of this process to `stream`, by default standard error.

    uvicorn's access log is turned off, in favour of `service.web.access_log`. Repeated
    calls are harmless.
    """
    global _lowest
    _lowest = getattr(logging, level.upper())
    stream = stream or cast("TextIO", STANDARD_ERROR)
    chain = _chain(form, stream)
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=SharedLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _configure_stdlib(_stdlib_handler(chain, stream), level)


def _chain(form: LogFormat, stream: TextIO) -> list[Processor]:
    terminal = stream.isatty()
    if form == "json" or (form == "auto" and not terminal):
        return [json_line]

    # Not rich's tracebacks: they print local variables, and so clients' data.
    console = ConsoleRenderer(
        colors=terminal,
        exception_formatter=plain_traceback,
        pad_event_to=0,
        pad_level=False,
        sort_keys=False,
    )
    stamp = TimeStamper(fmt="%H:%M:%S", utc=False)
    return [add_request_id, add_log_level, stamp, escape_unprintable, console]


def json_line(logger: Any, method: str, event: EventDict) -> str:
    """Render a line as JSON."""
    # In one processor: a chain of six took 10 % of a fast request.
    if "exc_info" in event:
        event = format_exc_info(logger, method, event)

    line = {
        "timestamp": datetime.now(UTC),
        "level": LEVELS.get(method, method),
        "event": None,
        **event,
    }
    return _to_json(add_request_id(logger, method, line))


def escape_unprintable(logger: Any, method: str, event: EventDict) -> EventDict:
    """Escape newlines and terminal sequences, which clients may send, in values."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = repr(value)

    return event


def _to_json(line: EventDict) -> str:
    return _to_json_line(line).decode().removesuffix("\n")


def _to_json_line(line: EventDict) -> bytes:
    try:
        return orjson.dumps(line, default=repr, option=JSON_LINES)
    except orjson.JSONEncodeError:
        # Lone surrogates and integers beyond 64 bits: logging must not fail.
        return json.dumps(line, default=_shown).encode() + b"\n"


def _shown(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def _stdlib_handler(chain: list[Processor], stream: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *chain],
        )
    )
    return handler


def _configure_stdlib(handler: logging.Handler, level: LogLevel) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True

    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
