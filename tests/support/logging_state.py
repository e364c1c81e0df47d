"""The logging of this process, put back as it was."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from service.telemetry import logs
from service.telemetry.logs import request_id

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    uvicorn = [logging.getLogger(f"uvicorn{name}") for name in ("", ".access")]
    lowest = logs._lowest
    before = root.level, root.handlers[:], [logger.propagate for logger in uvicorn]

    try:
        yield
    finally:
        structlog.reset_defaults()
        logs._lowest = lowest
        request_id.set(None)
        level, root.handlers[:], propagate = before
        root.setLevel(level)

        for logger, value in zip(uvicorn, propagate, strict=True):
            logger.propagate = value
