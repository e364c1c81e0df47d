"""Asynchronous predictions: where a job stands, its result, and its end."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import orjson
from flask import Blueprint, request
from werkzeug.exceptions import BadRequest, NotAcceptable, ServiceUnavailable

from inference import ModelSpec
from service.bridge.greenlets import await_
from service.codecs.jobs import job_document, jobs_document
from service.jobs.array import ArrayWriter
from service.jobs.job import JobRequest, JobStatus, Submission
from service.jobs.large import PIECE_BYTES
from service.jobs.npz import result_archive
from service.jobs.rows import NDJSON, NPY, NPZ, BadRows
from service.jobs.store import JobNotFound, PieceStore
from service.prediction import check
from service.routes.job_events import EVENT_STREAM, revision
from service.telemetry.traces import trace_context
from service.web.context import current_application, current_request, current_serving
from service.web.json_body import JSON, read_json_body
from service.web.keys import check_model, current_owner
from service.web.prefer import responds_async, says_how_to_answer, wait_seconds
from service.web.response import encoded_json_response, json_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Request, Response

    from service.jobs.job import Job, JobResult
    from service.jobs.jobs import Jobs
    from service.jobs.store import JobStore
    from service.web.context import Serving

DEFAULT_PAGE, LARGEST_PAGE = 100, 1000
FILTERS = ("status", "model")
FIRST_BYTES = 4096
LONGEST_WAIT = 60.0
MOST_KEY_CHARS = 255
RETRY_SECONDS = 1

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
        job = await accept(this, model, [rest], path=_path(model), id=id)

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


async def predict_later(model: ModelSpec, body: bytes) -> Response:
    """Keep a predict body as a job of `model`; return 202 with the job.

    For views of applications that embed this one. Raise what a synchronous call raises
    for the body, and `JobError` where no job can be kept.
    """
    return accepted(await accept(current_request(), model, [body], path=_path(model)))


def answers_later(this: Request, serving: Serving, model: ModelSpec) -> bool:
    """Return whether a prediction is to be answered with a job.

    That is what the client prefers, or what the model's sidecar says to a client that
    doesn't tell how long it would wait. Raise `ModelNotFound`, `VersionNotFound`.
    """
    if serving.jobs is None:
        return False

    if says_how_to_answer(this):
        return responds_async(this)

    return serving.engine.is_asynchronous(model)


async def respond_async(job: Job, wait: float | None) -> Response:
    """Answer with a job that was accepted, or its result if it ends within `wait`."""
    if wait is not None:
        jobs = current_jobs()
        job = await jobs.wait_until_ended(job, min(wait, LONGEST_WAIT))

        if job.status.ended:
            response = await result_response(jobs, job)
            response.headers["Preference-Applied"] = f"respond-async, wait={wait:g}"
            return response

    response = accepted(job)

    # A model that is asynchronous by its sidecar applies no preference.
    if responds_async(current_request()):
        response.headers["Preference-Applied"] = "respond-async"

    return response


async def accept(
    this: Request,
    model: ModelSpec,
    body: list[bytes],
    *,
    path: str,
    id: str | None = None,
) -> Job:
    """Check a predict body as a synchronous call does, and keep it as a job."""
    serving = current_serving()
    current_jobs()
    signature = await check(serving.engine, model, body, serving.decoders)
    request = JobRequest(path=path, headers={"content-type": JSON}, body=b"".join(body))
    return await submit(this, model, signature, request, id=id)


async def submit(
    this: Request,
    model: ModelSpec,
    signature: str | None,
    request: JobRequest,
    *,
    id: str | None = None,
) -> Job:
    """Keep a request that was checked as a job."""
    jobs, owner = current_jobs(), current_owner()
    digest = hashlib.sha256(request.path.encode() + b"\n" + request.body)
    # The same body may mean another thing in front of other headers.
    for name, value in request.headers.items():
        if name != "content-type":
            digest.update(f"\n{name}: {value}".encode())

    # Another owner's job of the same content is another job.
    if owner is not None:
        digest.update(f"\nowner: {owner}".encode())

    request = replace(request, headers={**request.headers, **trace_headers(this)})
    return await jobs.submit(
        Submission(
            id=id or str(uuid.uuid4()),
            key=idempotency_key(this),
            digest=digest.hexdigest(),
            model=model.name,
            version=model.version,
            signature=signature,
            request=request,
            total=1,
            unit="requests",
            queue_seconds=jobs.config.queue_seconds,
            result_seconds=jobs.config.result_seconds,
            owner=owner,
        )
    )


def trace_headers(this: Request) -> dict[str, str]:
    """Return the headers of a request's trace, which its job belongs to."""
    given = this.headers
    return trace_context(given.get("traceparent", ""), given.get("tracestate", ""))


def accepted(job: Job) -> Response:
    response = job_response(job, 202)
    response.headers["Location"] = f"{request.script_root}/v1/jobs/{job.id}"
    return response


def job_response(job: Job, status: int = 200) -> Response:
    response = json_response(job_document(job, request.script_root), status)

    if not job.status.ended:
        response.headers["Retry-After"] = str(RETRY_SECONDS)

    return response


async def result_response(jobs: Jobs, job: Job) -> Response:
    if job.status is JobStatus.CANCELED:
        text = f"The job '{job.id}' was canceled, so it has no result."
        return json_response({"error": text}, 409)

    result = await (await jobs.store()).result(job.id)

    if result is not None:
        return _result(await jobs.store(), job, result)

    if job.status is JobStatus.FAILED:
        return json_response({"error": job.error}, 500)

    return job_response(job, 202)


def _result(store: JobStore, job: Job, result: JobResult) -> Response:
    if result.kept_bytes is None:
        response = encoded_json_response(result.body, result.status)
        response.headers.update(result.headers)
        return response

    assert isinstance(store, PieceStore), "it kept the result"
    lines, rows = partial(_result_pieces, store, job.id), job.progress.total
    wanted = request.accept_mimetypes.best_match((NDJSON, NPY, NPZ))

    if wanted == NPY:
        pieces = _begun(_array_pieces(lines(), rows))
    elif wanted == NPZ:
        pieces = _begun(result_archive(lines, rows))
    else:
        pieces = lines()

    response = current_application().response_class(pieces, headers=result.headers)
    response.headers["Vary"] = "Accept"

    if wanted in (NPY, NPZ):
        response.content_type = wanted
    else:
        response.content_length = result.kept_bytes

    return response


def _result_pieces(store: PieceStore, id: str) -> Iterator[bytes]:
    """Yield a kept result, read while it is sent: in the bridge's threads.

    The first pieces are small, as they are read on the event loop: see `_begun`.
    """
    start, nbytes = 0, FIRST_BYTES

    while piece := await_(store.result_piece(id, start, nbytes)):
        yield piece
        start += len(piece)
        nbytes = min(2 * nbytes, PIECE_BYTES)


def _array_pieces(lines: Iterator[bytes], rows: int) -> Iterator[bytes]:
    """Yield lines as an array, in pieces. Raise `BadRows` if they make none."""
    writer = ArrayWriter(rows)

    for piece in lines:
        yield writer.feed(piece)

    yield writer.end()


def _begun(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Return pieces whose first row is there. Raise `NotAcceptable` if it can't be.

    What is found later breaks the connection off: the head is sent by then.
    """
    try:
        first = next(piece for piece in pieces if piece)
    except BadRows as exc:
        raise NotAcceptable(f"the result can't be had as arrays: {exc}") from None

    return chain([first], pieces)


async def own_job(store: JobStore, id: str) -> Job:
    """Return a job that the current request's key made. Raise as `get` does."""
    job, owner = await store.get(id), current_owner()
    if owner is not None and job.owner != owner:
        raise JobNotFound(f"There is no job '{id}'.")

    return job


def current_jobs() -> Jobs:
    jobs = current_serving().jobs

    if jobs is None:
        raise ServiceUnavailable(
            "this server keeps no jobs: start it with --data-dir FOLDER, or send the"
            " request without 'Prefer: respond-async'"
        )

    return jobs


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


def _path(model: ModelSpec) -> str:
    if model.version is not None:
        return f"/v1/models/{model.name}/versions/{model.version}:predict"

    if model.label is not None:
        return f"/v1/models/{model.name}/labels/{model.label}:predict"

    return f"/v1/models/{model.name}:predict"


def idempotency_key(this: Request) -> str | None:
    """Return the `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header)."""
    key = this.headers.get("Idempotency-Key")

    if key is None:
        return None

    # A structured field's string; clients also send it bare.
    key = key.strip().removeprefix('"').removesuffix('"')

    if not 0 < len(key) <= MOST_KEY_CHARS:
        raise BadRequest(
            f"the header Idempotency-Key needs 1 to {MOST_KEY_CHARS} characters"
        )

    owner = current_owner()
    # Each owner chooses freely; no header can hold a line break.
    return key if owner is None else f"{owner}\n{key}"


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
