"""The operations that are the same whatever the models: states, jobs, admin. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from service.codecs.admin import (
    EXAMPLES,
    Changes,
    Concurrency,
    Drain,
    Labels,
    Nothing,
    Pin,
)
from service.jobs.job import JobStatus
from service.jobs.rows import NDJSON, NPY, NPZ
from service.openapi.operations import (
    OCTETS,
    add_kinds,
    answer,
    operation,
    parameter,
    request_body,
    response,
    schema,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from service.openapi.operations import Entry

MODELS, SERVER = "All models", "The server"
JOBS, ADMIN = "Asynchronous jobs", "Admin calls"
"""Tags with a space, as no model's name has one."""

TOKEN = "adminToken"
SETTINGS = "/v1/admin/settings"
LABELLED = "{name}/labels/{label}"
PLACES: Mapping[str, tuple[str, ...]] = {
    "{name}": ("Model",),
    "{name}/versions/{version}": ("Model", "Version"),
    LABELLED: ("Model", "Label"),
}
"""A model in a path, and the path's parameters."""

LOADED = (400, 404, 500, 503)
STORE = (400, 404, 410, 503)
MAX_SHOWN_JOBS = 1000

READS: Mapping[str, str] = {
    "/": "Version, models and URLs",
    "/v1/overview": "Models, rates, memory, jobs, the last quarter of an hour",
    "/v2": "Name, version and extensions",
}
LISTS: Mapping[str, str] = {
    "/v1/models": "All models and their versions",
    "/v2/models": "The models' names",
    "/v2/models/stats": "Counts and times of all models' requests",
}
PROBES: Mapping[str, tuple[str, str, str]] = {
    "/livez": ("Tell if the server is alive", "Alive.", "Its background work failed."),
    "/startupz": ("Tell if it has started", "Started.", "Models still load."),
    "/readyz": ("Tell if requests can be answered", "Ready.", "Not ready."),
    "/v2/health/live": ("Tell if the server is alive", "Alive.", "Not alive."),
    "/v2/health/ready": ("Tell if requests can be answered", "Ready.", "Not ready."),
}
ABOUT: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "/v1/models/{name}": ("The versions and their states", (400, 404)),
    "/v1/models/{name}/report": ("How it was compiled, and examples", (400, 404)),
    "/v1/models/{name}/metadata": ("The signatures", LOADED),
    "/v2/models/{name}": ("Inputs and outputs of the default signature", LOADED),
    "/v2/models/{name}/ready": ("Tell if the model can answer", LOADED),
    "/v2/models/{name}/config": ("The configuration, as Triton shows it", LOADED),
    "/v2/models/{name}/stats": ("Counts and times of requests", (400, 404)),
}


def server_paths() -> dict[str, Entry]:
    paths = {path: {"get": _read(SERVER, path, text)} for path, text in READS.items()}
    for path, (text, good, bad) in PROBES.items():
        found = {200: answer(good), 503: answer(bad)}
        paths[path] = {"get": operation(SERVER, f"get {path}", text, found)}

    paths["/v1/overview/events"] = {"get": _overview_events()}
    paths["/openapi.json"] = {"get": _document()}
    paths["/metrics"] = {"get": _metrics()}
    return paths


def about_paths() -> dict[str, Entry]:
    """Return what is told of any model, at its name, a version and a label."""
    paths = {path: {"get": _read(MODELS, path, text)} for path, text in LISTS.items()}
    paths["/v2/repository/index"] = {"post": _index()}
    for path, (text, errors) in ABOUT.items():
        for place, named in PLACES.items():
            # The second protocol knows no labels.
            if place == LABELLED and path.startswith("/v2"):
                continue

            url = path.replace("{name}", place)
            read = _read(MODELS, url, text, errors)
            item: Entry = {"parameters": [*map(parameter, named)], "get": read}
            paths[url] = item

    return paths


def model_parameter(names: list[str]) -> Entry:
    """Return the path parameter that names a model, one of `names`."""
    kind: Entry = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"}
    return {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "The model's name.",
        "schema": {"type": "string", "enum": names} if names else kind,
    }


def accepted(*, links: bool) -> Entry:
    """Return the response with a new job, with `links` to the calls about it."""
    job = answer("The job that will answer.", schema("Job"))
    if not links:
        return job

    id = {"id": "$response.body#/id"}
    calls = ("show job", "job result", "job events", "cancel job", "delete job")
    job["links"] = {
        name.replace(" ", "-"): {"operationId": name, "parameters": id}
        for name in calls
    }
    return job


def job_paths() -> dict[str, Entry]:
    url = "/v1/jobs/{id}"
    the_job = answer("The job.", schema("Job"))
    nothing = {204: {"description": "It is deleted."}}
    paths: dict[str, Entry] = {
        url: {
            "get": _job("show job", "A job", {200: the_job}),
            "put": _put_job(),
            "delete": _job("delete job", "Delete a job", nothing),
        },
        f"{url}/result": {"get": _result(the_job)},
        f"{url}/events": {"get": _events()},
        f"{url}/cancel": {"post": _job("cancel job", "Cancel a job", {200: the_job})},
    }
    for item in paths.values():
        item["parameters"] = [parameter("Job")]

    return {"/v1/jobs": {"get": _list_jobs()}, **paths}


def admin_paths() -> dict[str, Entry]:
    """Return the admin calls and the repository calls, which need the token."""
    model = "/v1/admin/models/{name}"
    calls: list[tuple[str, str, str, type[BaseModel]]] = [
        ("post", "/v1/admin/rescan", "Look for new models now", Nothing),
        ("put", "/v1/admin/drain", "Begin or end draining", Drain),
        ("put", f"{model}/labels", "Set labels of versions", Labels),
        ("post", "/v2/repository/models/{name}/load", "Load a model", Nothing),
        ("post", "/v2/repository/models/{name}/unload", "Unload a model", Nothing),
    ]
    for url, what in (
        (model, "a model"),
        (f"{model}/versions/{{version}}", "a version"),
    ):
        calls += [
            ("post", f"{url}/load", f"Load {what}", Nothing),
            ("post", f"{url}/unload", f"Unload {what}", Nothing),
            ("put", f"{url}/pin", f"Keep {what} in memory, or no longer", Pin),
            ("put", f"{url}/concurrency", f"Set how often {what} runs", Concurrency),
        ]

    paths = {
        path: _admin(method, path, text, body) for method, path, text, body in calls
    }
    change = "Change settings while the server runs"
    return paths | {
        SETTINGS: {
            "get": _show_settings(),
            **_admin("patch", SETTINGS, change, Changes),
        }
    }


def _read(tag: str, path: str, text: str, errors: Iterable[int] = ()) -> Entry:
    return operation(tag, f"get {path}", text, {200: answer(f"{text}.")}, errors)


def _document() -> Entry:
    one = {
        "name": "model",
        "in": "query",
        "description": "Leave the calls of all other models out.",
        "schema": {"type": "string"},
    }
    found = {200: answer("The document.")}
    text = "This document, or that of one model"
    return operation(SERVER, "get /openapi.json", text, found, (404,), parameters=[one])


def _overview_events() -> Entry:
    stream = answer("The events.", {}, "text/event-stream")
    text = "The overview as it changes, as server-sent events"
    return operation(SERVER, "get /v1/overview/events", text, {200: stream})


def _metrics() -> Entry:
    text = {"schema": {"type": "string"}}
    kinds = ("text/plain", "application/openmetrics-text")
    found = {"description": "The figures.", "content": dict.fromkeys(kinds, text)}
    return operation(SERVER, "get /metrics", "Figures for Prometheus", {200: found})


def _index() -> Entry:
    wanted = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    entries = {"type": "array", "items": {"type": "object"}}
    return operation(
        MODELS,
        "repository index",
        "The versions in the repository, or those that are ready alone",
        {200: answer("The index.", entries)},
        (400, 413, 415, 503),
        requestBody=request_body(wanted, {"ready": {"ready": True}}, required=False),
    )


def _list_jobs() -> Entry:
    queries: Mapping[str, Any] = {
        "status": {"type": "string", "enum": list(JobStatus)},
        "model": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_SHOWN_JOBS},
        "before": {"type": "string", "description": "The last id of the page before."},
    }
    page = {
        "type": "object",
        "properties": {
            "jobs": {"type": "array", "items": schema("Job")},
            "next": {"type": ["string", "null"]},
        },
        "required": ["jobs", "next"],
    }
    parameters = [
        {"name": name, "in": "query", "schema": kind} for name, kind in queries.items()
    ]
    found = {200: answer("The jobs.", page)}
    return operation(
        JOBS, "list jobs", "A page of jobs", found, (400, 503), parameters=parameters
    )


def _put_job() -> Entry:
    body = {
        "type": "object",
        "description": "A predict body that names its model.",
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "integer"},
            "label": {"type": "string"},
            "instances": {"type": "array", "items": {}},
            "inputs": {},
        },
        "required": ["model"],
    }
    text = "Predict later, under an id of your own"
    return _job(
        "put job",
        text,
        {202: response("Accepted")},
        (413, 415, 422, 429, 500),
        parameters=[parameter("IdempotencyKey")],
        requestBody=request_body(body, {}),
    )


def _result(job: Entry) -> Entry:
    good = answer("What the call itself answers.")
    add_kinds(good, OCTETS, NDJSON, NPY, NPZ)
    found = {200: good, 202: job}
    text = "The answer, once there is one"
    errors = (406, 409, 413, 415, 429, 500, 504)
    return _job("job result", text, found, errors, parameters=[parameter("Prefer")])


def _events() -> Entry:
    # A schema would be of the stream to some tools, of one event to others.
    stream = answer("The events.", {}, "text/event-stream")
    found = {200: stream, 204: {"description": "There will be no more."}}
    return _job("job events", "Progress, as server-sent events", found)


def _job(
    name: str,
    text: str,
    found: Mapping[int, Entry],
    errors: Iterable[int] = (),
    **more: Any,
) -> Entry:
    return operation(JOBS, name, text, found, (*STORE, *errors), **more)


def _show_settings() -> Entry:
    return operation(
        ADMIN,
        f"get {SETTINGS}",
        "Settings that can be changed while the server runs",
        {200: answer("The settings, as they are.")},
        (401, 404, 500),
        security=[{TOKEN: []}],
    )


def _admin(method: str, path: str, text: str, body: type[BaseModel]) -> Entry:
    example = {"body": json.loads(EXAMPLES[body])}
    shape = body.model_json_schema()
    names = {"{name}": parameter("Model"), "{version}": parameter("Version")}
    told = operation(
        ADMIN,
        f"{method} {path}",
        text,
        {200: answer("What there is now.")},
        (400, 401, 404, 413, 415, 500, 503),
        security=[{TOKEN: []}],
        requestBody=request_body(shape, example, required=body is not Nothing),
    )
    return {
        "parameters": [ref for mark, ref in names.items() if mark in path],
        method: told,
    }
