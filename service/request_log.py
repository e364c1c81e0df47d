"""A request id, and one log line a request."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

import structlog
from flask import g, request

from service.errors import CLIENT_CLOSED_REQUEST

if TYPE_CHECKING:
    from flask import Flask, Response

HEADER = "X-Request-ID"
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

log = structlog.get_logger("tandem.requests")


def install_request_log(app: Flask) -> None:
    """Give each request an id and log it when it is answered or its client has gone.

    A client may choose the id with `X-Request-ID`; the response has it in any case,
    and so has every line that is logged meanwhile. To be installed before other hooks.
    """
    app.before_request(begin)
    app.after_request(finish)
    app.teardown_request(abandon)


def begin() -> None:
    g.started = time.perf_counter()
    g.bytes_in = request.content_length or 0
    g.request_id = choose_id(request.headers.get(HEADER, ""))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def choose_id(sent: str) -> str:
    """The id that was sent, if it is one that may be logged, else a new one."""
    return sent if ACCEPTED_ID.fullmatch(sent) else uuid.uuid4().hex


def finish(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    write_line(response.status_code, bytes_out=response.calculate_content_length())
    return response


def abandon(error: BaseException | None) -> None:
    if isinstance(error, asyncio.CancelledError):
        write_line(CLIENT_CLOSED_REQUEST)


def write_line(status: int, **extra: Any) -> None:
    write = log.debug if request.blueprint == "health" else log.info
    model = (request.view_args or {}).get("name")
    if model is not None:
        extra["model"] = model

    write(
        "request",
        method=request.method,
        path=request.path,
        status=status,
        bytes_in=g.bytes_in,
        milliseconds=round((time.perf_counter() - g.started) * 1000, 3),
        **extra,
    )
