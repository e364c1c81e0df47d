"""Error responses: one table for the engine's errors, and those of HTTP.

Every error is JSON, `{"error": "..."}`; tracebacks are only logged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import structlog
from flask import current_app, request
from werkzeug.exceptions import (
    ClientDisconnected,
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
)
from werkzeug.routing import RoutingException

from inference import (
    DeadlineExceeded,
    ExecutionFailed,
    InferenceError,
    InsufficientMemory,
    InvalidModel,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    Unavailable,
)
from service.bridge.environ import RAW_PATH
from service.caching.cache import NotCached
from service.codecs.tfserving.urls import refuse_url
from service.jobs.store import (
    BodyTooLarge,
    JobConflict,
    JobError,
    JobExpired,
    JobNotFound,
    JobsFull,
    StoreUnavailable,
)
from service.telemetry.logs import request_id
from service.web.body_budget import BodiesFull
from service.web.context import current_globals
from service.web.response import json_response
from service.web.routing import ADMIN, AUTOMATIC_METHODS, list_urls, nearest_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response

    from service.web.application import ConcurrentFlask

JOBS = "/v1/jobs"
CLIENT_CLOSED_REQUEST = 499  # nginx's code, for the log: no client reads it
SHOWN = 200

log = structlog.get_logger("tandem.errors")


STATUSES: Mapping[type[InferenceError], int] = {
    InvalidRequest: 400,
    ModelNotFound: 404,
    InvalidModel: 500,
    Unavailable: 503,
    Overloaded: 429,
    DeadlineExceeded: 504,
    ExecutionFailed: 500,
}


JOB_STATUSES: Mapping[type[JobError], int] = {
    JobNotFound: 404,
    JobExpired: 410,
    JobConflict: 422,
    BodyTooLarge: 413,
    JobsFull: 429,
    StoreUnavailable: 503,
}
JOB_RETRY_SECONDS = 5


def status_of(error: type[InferenceError]) -> int:
    """Return the status of an error class, or of its nearest base with one."""
    entries = (STATUSES[base] for base in error.__mro__ if base in STATUSES)
    return next(entries, 500)


def register_error_handlers(app: ConcurrentFlask) -> None:
    app.register_error_handler(HTTPException, handle_http_exception)
    app.register_error_handler(Exception, handle_exception)
    # The direct way answers errors from the same table.
    app.plain_hooks |= {handle_http_exception, handle_exception}


REASONS: Mapping[type[Exception], str] = {
    Overloaded: "queue_full",
    DeadlineExceeded: "deadline",
    InsufficientMemory: "out_of_memory",
    MemoryError: "out_of_memory",
    RequestEntityTooLarge: "body_too_large",
    BodyTooLarge: "body_too_large",
    JobsFull: "jobs_full",
    TooManyRequests: "key_quota",
    BodiesFull: "bodies_full",
}
"""Errors that refuse a request because of load or a limit, for the metrics."""


def reason_of(error: Exception) -> str | None:
    """Return why a request was refused, if it was because of load or a limit."""
    return next(
        (REASONS[each] for each in type(error).__mro__ if each in REASONS), None
    )


class ErrorAnswer(NamedTuple):
    """An error's answer: its text, status and headers."""

    text: str
    status: int
    headers: Mapping[str, str] = {}


def answer_error(error: Exception) -> ErrorAnswer:
    """Return the answer to an error that isn't HTTP's own; log what is our fault."""
    if isinstance(error, MemoryError):
        # In arrays of ours, before or after the model's run.
        log.error("out of memory", exc_info=error)
        return _answer_inference_error(InsufficientMemory())

    if isinstance(error, InferenceError):
        return _answer_inference_error(error)

    if isinstance(error, JobError):
        return _answer_job_error(error)

    if isinstance(error, NotCached):
        return ErrorAnswer(str(error), 504)

    log.error("request failed", exc_info=error)
    return ErrorAnswer(_internal_error(), 500)


def _answer_inference_error(error: InferenceError) -> ErrorAnswer:
    status = status_of(type(error))
    if status == 500:
        log.error("request failed", exc_info=error)

    if error.retry_after is None:
        return ErrorAnswer(str(error), status)

    # HTTP has whole seconds only.
    return ErrorAnswer(
        str(error), status, {"Retry-After": str(math.ceil(error.retry_after))}
    )


def _answer_job_error(error: JobError) -> ErrorAnswer:
    status = JOB_STATUSES.get(type(error), 500)
    headers = {"Retry-After": str(JOB_RETRY_SECONDS)} if status in (429, 503) else {}
    return ErrorAnswer(str(error), status, headers)


def handle_exception(error: Exception) -> Response:
    current_globals().refused = reason_of(error)
    answer = answer_error(error)
    response = error_response(answer.text, answer.status)
    response.headers.update(answer.headers)
    return response


def handle_http_exception(error: HTTPException) -> Response | HTTPException:
    # Werkzeug's redirects are exceptions, but not errors.
    if isinstance(error, RoutingException):
        return error

    if isinstance(error, ClientDisconnected):
        return error_response("the client has disconnected", CLIENT_CLOSED_REQUEST)

    if _is_unknown_url(error) and _is_tfservings(request.path):
        return handle_exception(_refuse_url())

    current_globals().refused = reason_of(error)
    response = error_response(_text(error), error.code or 500)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value

    return response


def _is_unknown_url(error: HTTPException) -> bool:
    return isinstance(error, NotFound) and error.description == NotFound.description


def _is_tfservings(path: str) -> bool:
    """Return whether a path that nothing was found at is TensorFlow Serving's."""
    return path.startswith("/v1/") and not path.startswith((ADMIN, JOBS))


def _refuse_url() -> InferenceError:
    path = request.environ.get(RAW_PATH) or quote(request.path, safe="/:")
    return refuse_url(request.method, path) or InvalidRequest(
        f"Malformed request: {request.method} {_path()}: {_not_found()}"
    )


def error_response(text: str, status: int) -> Response:
    return json_response({"error": text}, status)


def _text(error: HTTPException) -> str:
    if _is_unknown_url(error):
        return _not_found()

    if isinstance(error, MethodNotAllowed):
        methods = sorted(set(error.valid_methods or ()) - AUTOMATIC_METHODS)
        return (
            f"{request.method} is not allowed at {_path()}: use {' or '.join(methods)}"
        )

    if type(error) is RequestEntityTooLarge:
        return _too_large()

    if isinstance(error, InternalServerError):
        return _internal_error()

    return error.description or error.name


def _not_found() -> str:
    admin = request.path.startswith(ADMIN)
    lines = list_urls(current_app.url_map, admin=admin)
    near = nearest_url(request.path[:SHOWN], lines)
    meant = "" if near is None else f"Did you mean {near}? "
    root = request.script_root
    return f"There is no {_path()} here. {meant}GET {root}/ lists all URLs."


def _path() -> str:
    path = request.path
    return path if len(path) <= SHOWN else f"{path[:SHOWN]}..."


def _too_large() -> str:
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    size = request.content_length
    body = "the body" if size is None else f"the body of {size} bytes"
    return (
        f"{body} is over the limit of {limit} bytes: send fewer rows at a time, or"
        " raise the limit with --max-body-bytes or TANDEM_MAX_BODY_BYTES"
    )


def _internal_error() -> str:
    return (
        "internal error; the server's log has the details under request id"
        f" {request_id.get() or 'unknown'}"
    )
