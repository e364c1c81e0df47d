"""The way of a prediction through the service, whatever its protocol.

It is admitted before its body is read, answered now or as a job, and given again by the
response cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from service.routes.job_submission import answers_later, respond_async
from service.server.overload import admit
from service.telemetry.timing import Trace, trace
from service.web.access_log import predicts
from service.web.cache_control import add_cache_headers, use_of
from service.web.context import current_request, current_serving
from service.web.prefer import wait_seconds

if TYPE_CHECKING:
    from flask import Request, Response

    from inference import ModelSpec
    from service.caching.cache import CacheUse
    from service.jobs.job import Job
    from service.web.body_budget import Reservation
    from service.web.context import Serving

B = TypeVar("B")

PROTOCOLS = {"tfserving": "v1"}
"""Protocols whose name isn't that of their routes' blueprint."""


class Front(Protocol[B]):
    """The predictions of one protocol, whose bodies are read to a `B`."""

    async def accept_large(self, this: Request, spec: ModelSpec) -> Job | None:
        """Keep a body of large work as a job; `None` if it isn't one."""

    def read(self, this: Request, reservation: Reservation) -> B:
        """Read a body. Raise what refuses it, before or while it is read."""

    async def accept(self, this: Request, spec: ModelSpec, body: B) -> Job:
        """Check a body as `predict` does, and keep it as a job."""

    async def predict(
        self,
        serving: Serving,
        spec: ModelSpec,
        body: B,
        wait: float | None,
        cached: CacheUse | None,
    ) -> Response:
        """Answer a body."""


async def respond(front: Front[B], spec: ModelSpec) -> Response:
    """Answer the current request for a prediction."""
    serving, this = current_serving(), current_request()
    protocol = PROTOCOLS.get(this.blueprint or "", this.blueprint or "")
    predicts(spec, protocol)
    wait = wait_seconds(this)
    # Refuse before the body is read, unless it may be asked for an answer that is kept.
    if serving.cache is None or serving.engine.cache_policy(spec) is None:
        admit(this, serving.engine, spec, protocol)

    later = answers_later(this, serving, spec)
    job = await front.accept_large(this, spec) if later else None
    if job is not None:
        return await respond_async(job, wait)

    with serving.body_budget.reservation() as reservation:
        body = front.read(this, reservation)
        if later:
            return await respond_async(await front.accept(this, spec, body), wait)

        cached = use_of(serving.cache, this)
        noted = Trace()
        token = trace.set(noted)
        try:
            response = await front.predict(serving, spec, body, wait, cached)
        finally:
            trace.reset(token)

    for name, value in noted.headers().items():
        response.headers[name] = value

    if cached is not None and cached.answer is not None:
        add_cache_headers(response, cached.answer)

    return response
