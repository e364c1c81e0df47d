"""Answers with a job, or with its result."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from flask import request
from werkzeug.exceptions import NotAcceptable

from service.bridge.greenlets import await_
from service.codecs.jobs import job_document
from service.jobs.array import ArrayWriter
from service.jobs.job import JobStatus
from service.jobs.large import PIECE_BYTES
from service.jobs.npz import result_archive
from service.jobs.rows import NDJSON, NPY, NPZ, BadRows
from service.jobs.store import PieceStore
from service.web.context import current_application
from service.web.response import encoded_json_response, json_response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Response

    from service.jobs.job import Job, JobResult
    from service.jobs.jobs import Jobs
    from service.jobs.store import JobStore

FIRST_BYTES = 4096
RETRY_SECONDS = 1


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
