"""The access log and counters: an id and a line for each request."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
from typing import TYPE_CHECKING, Any

import structlog

from inference import in_background
from service.telemetry.logs import is_logged, request_id
from service.telemetry.requests import OK, OTHER, source_of
from service.telemetry.timing import VERSION_HEADER
from service.telemetry.traces import sampled_trace, trace_of
from service.web.context import (
    SERVING,
    current_application,
    current_globals,
    current_request,
)
from service.web.errors import CLIENT_CLOSED_REQUEST

if TYPE_CHECKING:
    from flask import Response

    from inference import ModelSpec
    from service.telemetry.requests import Source
    from service.web.application import ConcurrentFlask
    from service.web.context import Serving

HEADER = "X-Request-ID"
HEADER_KEY = "HTTP_X_REQUEST_ID"
TRACEPARENT_KEY = "HTTP_TRACEPARENT"
# Machines request these every few seconds.
PROBES = ("health", "metrics")
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)

PROCESS = os.urandom(8).hex()
_count = itertools.count()

log = structlog.get_logger("tandem.requests")


def install_request_log(app: ConcurrentFlask) -> None:
    """Give each request an id, and log it when it is answered or its client has gone.

    A client may choose the id with `X-Request-ID`. The response and all log lines of
    the request carry it. Install this before other hooks.
    """
    app.before_request(begin)
    app.after_request(finish)
    app.teardown_request(abandon)
    app.plain_hooks |= {begin, finish, abandon}


def begin() -> None:
    state = current_globals()
    state.started = time.perf_counter()
    state.request_id = choose_id(current_request().environ.get(HEADER_KEY, ""))
    request_id.set(state.request_id)


def choose_id(sent: str) -> str:
    """Return the id that the client sent if it is safe to log, else a new one."""
    if sent and ACCEPTED_ID.fullmatch(sent):
        return sent

    # Unique, not secret: the system's random bytes for each request cost 1 µs.
    return f"{PROCESS}{next(_count):016x}"


def finish(response: Response) -> Response:
    response.headers[HEADER] = current_globals().request_id
    end(response.status_code, response)
    return response


def abandon(error: BaseException | None) -> None:
    if isinstance(error, asyncio.CancelledError):
        end(CLIENT_CLOSED_REQUEST)


def predicts(spec: ModelSpec, protocol: str) -> None:
    """Have the current request counted as a prediction of `spec`."""
    current_globals().prediction = spec, "jobs" if in_background() else protocol


def end(status: int, response: Response | None = None) -> None:
    """Count and log a request that is answered, or whose client has gone."""
    state, this = current_globals(), current_request()
    seconds = time.perf_counter() - state.started
    read = state.get("bytes_in")
    bytes_in = (this.content_length or 0) if read is None else read
    count(status, seconds, bytes_in, response)
    write_line(status, seconds, bytes_in, response)


def count(
    status: int, seconds: float, bytes_in: int, response: Response | None
) -> None:
    serving: Serving | None = current_application().extensions.get(SERVING)
    if serving is None:
        return

    source = _source(serving, response)
    counters = serving.requests.sources[source]
    counters.add((status,), (seconds,), (bytes_in,))
    trace = sampled_trace(current_request().environ.get(TRACEPARENT_KEY, ""))
    if trace is not None and status == OK and source != OTHER:
        counters.exemplify(seconds, trace)

    reason = current_globals().get("refused")
    if reason is not None:
        serving.requests.refuse(reason, source[0])


def _source(serving: Serving, response: Response | None) -> Source:
    prediction: tuple[ModelSpec, str] | None = current_globals().get("prediction")
    if prediction is None:
        return OTHER

    name, now, protocol = source_of(serving.engine, *prediction)
    # The one that has answered, though another may answer now.
    told = "" if response is None else response.headers.get(VERSION_HEADER, "")
    return name, int(told) if told.isdecimal() else now, protocol


def write_line(
    status: int, seconds: float, bytes_in: int, response: Response | None
) -> None:
    if not is_logged(logging.INFO):
        return

    this = current_request()
    probe = this.blueprint in PROBES
    if probe and not is_logged(logging.DEBUG):
        return

    fields = describe(
        method=this.method,
        path=this.path,
        status=status,
        bytes_in=bytes_in,
        seconds=seconds,
    )
    if response is not None:
        fields["bytes_out"] = size_of(response)

    model = (this.view_args or {}).get("name")
    if model is not None:
        fields["model"] = model

    fields |= trace_field(this.environ.get(TRACEPARENT_KEY, ""))
    write = log.debug if probe else log.info
    write("request", **fields)


def describe(
    *, method: str, path: str, status: int, bytes_in: int, seconds: float
) -> dict[str, Any]:
    """Return the fields of each request's line."""
    return {
        "method": method,
        "path": path,
        "status": status,
        "bytes_in": bytes_in,
        # Python's `round` of a float takes five times as long.
        "milliseconds": int(seconds * 1e6 + 0.5) / 1000,
    }


def trace_field(traceparent: str) -> dict[str, str]:
    """Return the field that tells a request's trace, if it belongs to one."""
    trace = trace_of(traceparent)
    return {} if trace is None else {"trace_id": trace}


def size_of(response: Response) -> int | None:
    """Return the bytes of a body, if they are known without making it."""
    # Werkzeug would read a stream to its end, into memory.
    whole = response.is_sequence
    return response.calculate_content_length() if whole else response.content_length
