"""A span for each run of a job, in the trace of the request that submitted it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.trace import SpanKind, Status, StatusCode

from service.jobs.answers import TRY_LATER, error_of
from service.telemetry.timing import TIMING_HEADER, VERSION_HEADER
from service.tracing.context import headers_of, parent_of
from service.tracing.phases import add_phases

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from service.jobs.job import Claim, JobRequest, JobResult
    from service.jobs.runner import Answer

TIMING, VERSION = TIMING_HEADER.lower(), VERSION_HEADER.lower()


def traced_runs(tracer: Tracer, answer: Answer) -> Answer:
    """Return `answer` with a span around each run, to which its requests belong."""

    async def run(claim: Claim, request: JobRequest) -> JobResult | None:
        job = claim.job
        with tracer.start_as_current_span(
            f"job {job.model}",
            parent_of(request.trace),
            SpanKind.CONSUMER,
            {
                "tandem.job.id": job.id,
                "tandem.job.attempt": claim.attempt,
                "tandem.job.total": job.progress.total,
                "tandem.job.unit": job.progress.unit,
                "tandem.model.name": job.model,
            },
            # Its words may have a client's data in them.
            record_exception=False,
        ) as span:
            headers = {**request.headers, **headers_of(span)}
            result = await answer(claim, replace(request, headers=headers))
            if result is not None and span.is_recording():
                _note(tracer, span, result)

        return result

    return run


def _note(tracer: Tracer, span: Span, result: JobResult) -> None:
    span.set_attribute("http.response.status_code", result.status)
    version = result.headers.get(VERSION, "")
    if version.isdigit():
        span.set_attribute("tandem.model.version", int(version))

    if result.status in TRY_LATER:
        span.set_attribute("tandem.job.given_back", True)
    elif error_of(result) is not None:
        span.set_attribute("error.type", str(result.status))
        span.set_status(Status(StatusCode.ERROR))

    if TIMING in result.headers:
        add_phases(tracer, span, result.headers[TIMING])
