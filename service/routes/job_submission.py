"""Predictions that are kept as jobs."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from werkzeug.exceptions import BadRequest, ServiceUnavailable

from service.jobs.job import JobRequest, Submission
from service.prediction import check
from service.routes.job_responses import accepted, result_response
from service.telemetry.traces import trace_context
from service.web.context import current_request, current_serving
from service.web.json_body import JSON
from service.web.keys import current_owner
from service.web.prefer import responds_async, says_how_to_answer

if TYPE_CHECKING:
    from flask import Request, Response

    from inference import ModelSpec
    from service.jobs.job import Job
    from service.jobs.jobs import Jobs
    from service.web.context import Serving

LONGEST_WAIT = 60.0
MOST_KEY_CHARS = 255


async def predict_later(model: ModelSpec, body: bytes) -> Response:
    """Keep a predict body as a job of `model`; return 202 with the job.

    For views of applications that embed this one. Raise what a synchronous call raises
    for the body, and `JobError` where no job can be kept.
    """
    path = predict_path(model)
    return accepted(await accept(current_request(), model, [body], path=path))


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


def predict_path(model: ModelSpec) -> str:
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


def current_jobs() -> Jobs:
    jobs = current_serving().jobs

    if jobs is None:
        raise ServiceUnavailable(
            "this server keeps no jobs: start it with --data-dir FOLDER, or send the"
            " request without 'Prefer: respond-async'"
        )

    return jobs
