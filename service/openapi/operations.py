"""The parts that operations are written with: responses, bodies, parameters. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference import LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Entry = dict[str, Any]

JSON = "application/json"
OCTETS = "application/octet-stream"
BINARY: Mapping[str, str] = {"type": "string", "format": "binary"}

ERRORS: Mapping[int, str] = {
    400: "The request is wrong; the error says what to send instead.",
    401: "The admin token is missing or wrong.",
    404: "There is no such model, version or job.",
    406: "The result can't be had as arrays.",
    409: "The job was canceled, so it has no result.",
    410: "The job has expired.",
    413: "The body is over a limit, which the error names.",
    415: "The body is of a media type or encoding that isn't read here.",
    422: "Another job has this id or Idempotency-Key.",
    429: "The queue is full.",
    500: "The model failed, or couldn't be loaded.",
    503: "The model, the server or its store of jobs can't answer now.",
    504: "The time limit was reached.",
}
RETRIED = frozenset({429, 503})
"""Errors that go away, with the header `Retry-After`."""

PARAMETERS: Mapping[str, Entry] = {
    "Prefer": {
        "name": "Prefer",
        "in": "header",
        "description": "`respond-async` asks for a job in place of the answer,"
        " `wait=2.5` says how many seconds the client waits (RFC 7240).",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key and body make one job, however often sent.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "Version": {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    },
    "Label": {
        "name": "label",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": LABEL},
    },
    "Job": {
        "name": "id",
        "in": "path",
        "required": True,
        "description": "The job's id.",
        "schema": {"type": "string", "format": "uuid"},
    },
}

HEADERS: Mapping[str, Entry] = {
    "Retry-After": {
        "description": "Seconds after which to send the request again.",
        "schema": {"type": "integer"},
    },
    "X-Model-Version": {
        "description": "The version that answered.",
        "schema": {"type": "integer"},
    },
    "Server-Timing": {
        "description": "Milliseconds in the queue, of decoding, computing, encoding.",
        "schema": {"type": "string"},
    },
}


def parameter(name: str) -> Entry:
    return {"$ref": f"#/components/parameters/{name}"}


def schema(name: str) -> Entry:
    return {"$ref": f"#/components/schemas/{name}"}


def response(name: str) -> Entry:
    return {"$ref": f"#/components/responses/{name}"}


def headers(*names: str) -> Entry:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def error_responses() -> dict[str, Entry]:
    """Return the components that operations refer to for errors."""
    found: dict[str, Entry] = {}
    for status, text in ERRORS.items():
        found[_error(status)] = answer(text, schema("Error"))
        if status in RETRIED:
            found[_error(status)]["headers"] = headers("Retry-After")

    return found


def operation(
    tag: str,
    name: str,
    summary: str,
    answers: Mapping[int, Entry],
    errors: Iterable[int] = (),
    **more: Any,
) -> Entry:
    """Return an operation that refers to the common `errors`.

    `name` is unique in the document, `more` are further fields of the operation.
    """
    references = {status: response(_error(status)) for status in errors}
    every = {**references, **answers}
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        **more,
        "responses": {str(status): every[status] for status in sorted(every)},
    }


def answer(text: str, body: Entry | None = None, kind: str = JSON) -> Entry:
    """Return a response with a `body`, by default any object."""
    shape = {"type": "object"} if body is None else body
    return {"description": text, "content": {kind: {"schema": shape}}}


def add_kinds(told: Entry, *kinds: str) -> None:
    """Let a request body or a response have bytes of other media types, too."""
    for kind in kinds:
        told["content"][kind] = {"schema": BINARY}


def request_body(
    body: Entry, examples: Mapping[str, Any], *, required: bool = True
) -> Entry:
    """Return a JSON request body with named example values."""
    content: Entry = {"schema": body}
    if examples:
        content["examples"] = {
            name: {"value": value} for name, value in examples.items()
        }

    return {"required": required, "content": {JSON: content}}


def _error(status: int) -> str:
    return f"Error{status}"
