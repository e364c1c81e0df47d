"""Asynchronous predictions: where a job stands, its result, and its end."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import orjson
from flask import Blueprint, request
from werkzeug.exceptions import BadRequest

from inference import ModelSpec
from service.codecs.jobs import jobs_document
from service.jobs.job import JobStatus
from service.jobs.store import JobNotFound
from service.routes.job_events import EVENT_STREAM, revision
from service.routes.job_responses import accepted, job_response, result_response
from service.routes.job_submission import (
    LONGEST_WAIT,
    accept,
    current_jobs,
    predict_path,
)
from service.web.context import current_request, current_serving
from service.web.json_body import read_json_body
from service.web.keys import check_model, current_owner
from service.web.prefer import wait_seconds
from service.web.response import encoded_json_response, json_response

if TYPE_CHECKING:
    from flask import Request, Response

    from service.jobs.job import Job
    from service.jobs.store import JobStore

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
FILTERS = ("status", "model")

bp = Blueprint("jobs", __name__, url_prefix="/v1/jobs")


@bp.get("")
async def list_jobs() -> Response:
    jobs = current_jobs()
    limit = _limit(request.args.get("limit"))
    found = await (await jobs.store()).page(
        status=_status(request.args.get("status")),
        model=request.args.get("model"),
        owner=current_owner(),
        limit=limit,
        before=request.args.get("before"),
    )
    filters = {name: request.args[name] for name in FILTERS if name in request.args}
    return json_response(jobs_document(found, limit, request.script_root, filters))


@bp.get("/<id>")
async def show_job(id: str) -> Response:
    """Answer with the job; with `Prefer: wait=N` once it has changed, if it may."""
    this, jobs = current_request(), current_jobs()
    job = await own_job(await jobs.store(), id)
    wait = wait_seconds(this)

    if wait is not None and not job.status.ended and _knows(this, job):
        job = await jobs.wait(job, min(wait, LONGEST_WAIT))

    response = job_response(job)
    response.headers["ETag"] = _tag(job)
    response.make_conditional(this)
    return response


@bp.put("/<id>")
async def put_job(id: str) -> Response:
    """Accept a job under the client's own id: a predict body that names its model."""
    this, serving = current_request(), current_serving()
    _check_id(id)

    with serving.body_budget.reservation() as reservation:
        body = b"".join(read_json_body(this, reservation))
        model, rest = _named_model(body)
        check_model(model.name)
        job = await accept(this, model, [rest], path=predict_path(model), id=id)

    return accepted(job)


@bp.get("/<id>/result")
async def show_result(id: str) -> Response:
    """Answer with the very response of the synchronous call, once there is one."""
    this, jobs = current_request(), current_jobs()
    store = await jobs.store()
    job = await own_job(store, id)
    wait = wait_seconds(this)

    if wait is not None:
        job = await jobs.wait_until_ended(job, min(wait, LONGEST_WAIT))

    return await result_response(jobs, job)


@bp.get("/<id>/events")
async def show_events(id: str) -> Response:
    """Answer with the head of a stream; `JobEvents` sends the events themselves."""
    this = current_request()
    job = await own_job(await current_jobs().store(), id)
    response = encoded_json_response(b"")
    response.content_type = EVENT_STREAM
    response.headers["Cache-Control"] = "no-store"
    # nginx would keep the events until its buffer is full.
    response.headers["X-Accel-Buffering"] = "no"

    if (
        job.status.ended
        and revision(this.headers.get("Last-Event-ID", "")) >= job.revision
    ):
        # Nothing more will happen: this keeps a browser from coming again.
        response.status_code = 204

    return response


@bp.post("/<id>/cancel")
async def cancel_job(id: str) -> Response:
    jobs = current_jobs()
    store = await jobs.store()
    await own_job(store, id)
    job = await store.cancel(id)
    jobs.announce(id)
    return job_response(job)


@bp.delete("/<id>")
async def delete_job(id: str) -> Response:
    jobs = current_jobs()
    store = await jobs.store()
    await own_job(store, id)
    await store.delete(id)
    jobs.announce(id)
    response = encoded_json_response(b"", 204)
    del response.headers["Content-Type"]
    return response


async def own_job(store: JobStore, id: str) -> Job:
    """Return a job that the current request's key made. Raise as `get` does."""
    job, owner = await store.get(id), current_owner()
    if owner is not None and job.owner != owner:
        raise JobNotFound(f"There is no job '{id}'.")

    return job


def _knows(this: Request, job: Job) -> bool:
    """Tell if the client has seen this state: only then does it wait for the next."""
    return not this.if_none_match or this.if_none_match.contains_weak(str(job.revision))


def _tag(job: Job) -> str:
    return f'W/"{job.revision}"'


def _check_id(id: str) -> None:
    try:
        known = str(uuid.UUID(id)) == id.lower()
    except ValueError:
        known = False

    if not known:
        raise BadRequest(
            f"a job's id is a UUID, such as {uuid.uuid4()}; '{id[:60]}' is none"
        )


def _named_model(body: bytes) -> tuple[ModelSpec, bytes]:
    """Split a job's body into the model it names and the predict body."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadRequest(f"the body isn't JSON: {exc}") from exc

    if not isinstance(document, dict) or not isinstance(document.get("model"), str):
        raise BadRequest(
            'the body needs "model", and "version" or "label" if it isn\'t the newest,'
            ' beside what a predict call has: {"model": "flowers", "instances": [...]}'
        )

    version, label = document.pop("version", None), document.pop("label", None)
    model = document.pop("model")

    if not (isinstance(version, int | None) and isinstance(label, str | None)):
        raise BadRequest('"version" must be a whole number, "label" a string')

    spec = ModelSpec(name=model, version=version, label=label)
    return spec, orjson.dumps(document)


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE

    if text.isascii() and text.isdecimal() and 0 < int(text) <= LARGEST_PAGE:
        return int(text)

    raise BadRequest(f"limit must be a whole number from 1 to {LARGEST_PAGE}")


def _status(text: str | None) -> JobStatus | None:
    if text is None:
        return None

    try:
        return JobStatus(text)
    except ValueError:
        known = ", ".join(JobStatus)
        raise BadRequest(f"status must be one of {known}") from None
