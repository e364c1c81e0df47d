"""Structured logging: our lines and other libraries', through one chain."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, cast

import orjson
import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import TimeStamper
from structlog.stdlib import ProcessorFormatter

if TYPE_CHECKING:
    from typing import Any, TextIO

    from structlog.typing import EventDict, Processor

    from service.settings import LogFormat, LogLevel

FIRST_KEYS = ("timestamp", "level", "event")

COMMON: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
]


class StandardError(io.TextIOBase):
    """Whatever `sys.stderr` is now: a progress display takes its place for a while."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr.isatty()


def claim_stderr() -> None:
    """Give Python a copy of standard error, for the rest of the process.

    TensorFlow's libraries print to the descriptor itself, and it is held back while
    they load; our own lines must not be held back with theirs.
    """
    sys.stderr = os.fdopen(
        os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace"
    )


def configure_logging(
    form: LogFormat = "auto", level: LogLevel = "info", stream: TextIO | None = None
) -> None:
    """Send all logs of this process to `stream` (standard error), a line each.

    uvicorn's access log is turned off: `service.request_log` writes a better one.
    Meant to be called once, and harmless when called again.
    """
    stream = stream or cast("TextIO", StandardError())
    render = _renderers(form, stream)
    structlog.configure(
        processors=[*COMMON, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _configure_stdlib(_stdlib_handler(render, stream), level)


def _renderers(form: LogFormat, stream: TextIO) -> list[Processor]:
    terminal = stream.isatty()
    if form == "console" or (form == "auto" and terminal):
        # Never rich's tracebacks: they print local variables, clients' data too.
        console = ConsoleRenderer(
            colors=terminal,
            exception_formatter=plain_traceback,
            pad_event_to=0,
            pad_level=False,
            sort_keys=False,
        )
        return [TimeStamper(fmt="%H:%M:%S", utc=False), escape_unprintable, console]

    text = structlog.processors.JSONRenderer(serializer=_to_json)
    stamp = TimeStamper(fmt="iso", utc=True)
    return [stamp, structlog.processors.format_exc_info, first_things_first, text]


def escape_unprintable(logger: Any, method: str, event: EventDict) -> EventDict:
    """Newlines and terminal escapes in values, which clients may send, are written
    as escapes, so that a line stays a line."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = repr(value)

    return event


def first_things_first(logger: Any, method: str, event: EventDict) -> EventDict:
    return {key: event.pop(key) for key in FIRST_KEYS if key in event} | dict(event)


def _to_json(value: Any, **options: Any) -> str:
    option = orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(value, default=repr, option=option).decode()
    except orjson.JSONEncodeError:
        # Lone surrogates, or integers past 64 bits: a line must never be an error.
        return json.dumps(value, default=repr)


def _stdlib_handler(render: list[Processor], stream: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[*COMMON, structlog.stdlib.add_logger_name],
            processors=[ProcessorFormatter.remove_processors_meta, *render],
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
