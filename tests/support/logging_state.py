"""The logging of this process, put back as it was."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback

from service.telemetry import logs
from service.telemetry.logs import request_id

if TYPE_CHECKING:
    from collections.abc import Iterator


def configure_plain_logging() -> None:
    """Log as structlog does by default, but with Python's own tracebacks."""
    # Its default draws them with their source and variables, in 10 to 100 ms each.
    *others, _ = structlog.get_config()["processors"]
    renderer = ConsoleRenderer(colors=False, exception_formatter=plain_traceback)
    structlog.configure(processors=[*others, renderer])


@contextmanager
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    uvicorn = [logging.getLogger(f"uvicorn{name}") for name in ("", ".access")]
    lowest = logs._lowest
    config = structlog.get_config()
    before = root.level, root.handlers[:], [logger.propagate for logger in uvicorn]

    try:
        yield
    finally:
        structlog.configure(**config)
        logs._lowest = lowest
        request_id.set(None)
        level, root.handlers[:], propagate = before
        root.setLevel(level)

        for logger, value in zip(uvicorn, propagate, strict=True):
            logger.propagate = value
