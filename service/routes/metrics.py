"""Metrics for Prometheus, of all processes of the server where they share them."""

from __future__ import annotations

import time
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog
from flask import Blueprint, current_app, request

from service.jobs.store import StoreUnavailable
from service.server.connection import Connection
from service.telemetry.figures import merge, of_models
from service.telemetry.log_stream import dropped_lines
from service.telemetry.metrics import (
    JobFigures,
    Snapshot,
    cache_figures,
    encode,
    job_figures,
    prefers_openmetrics,
)
from service.telemetry.sharing import (
    PUBLISH_SECONDS,
    PUBLISH_SHARE,
    FiguresUnreadable,
)
from service.web.compression import accepted_coding, compress
from service.web.context import current_request, current_serving
from service.web.errors import error_response
from service.web.version import VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from flask import Response

    from service.jobs.jobs import Jobs
    from service.telemetry.figures import Figures
    from service.telemetry.sharing import FigureFolder
    from service.web.context import Serving

bp = Blueprint("metrics", __name__)
log = structlog.get_logger("tandem.metrics")


@bp.get("/metrics")
async def metrics() -> Response:
    serving = current_serving()
    snapshot = await take_snapshot(serving)
    shared = await shared_figures(serving)
    names = {(each.id.name, str(each.id.version)) for each in serving.engine.models()}
    as_openmetrics = prefers_openmetrics(request.accept_mimetypes)

    def write() -> tuple[bytes, str]:
        own, folder = snapshot.figures(), serving.figure_folder
        total = own if folder is None else folder.total(own)
        return encode(of_models(total, names) | shared, as_openmetrics=as_openmetrics)

    try:
        text, content_type = await anyio.to_thread.run_sync(
            write, limiter=serving.metrics_limiter
        )
    except FiguresUnreadable as exc:
        # Part of the figures would look like counters that began anew.
        return error_response(str(exc), 503)

    response = current_app.response_class(text, content_type=content_type)
    response.vary.update(("Accept", "Accept-Encoding"))
    coding = accepted_coding(current_request())
    if coding is not None:
        await compress(response, [text], coding, serving.metrics_limiter)

    return response


async def take_snapshot(serving: Serving) -> Snapshot:
    """Return the state of this process alone."""
    engine, cache = serving.engine, serving.cache
    models = engine.models()
    counters = serving.requests, Connection.counters
    for each in counters:
        each.forget({(model.id.name, model.id.version) for model in models})

    own_cache = None if cache is None or cache.shared else cache
    return Snapshot(
        models=models,
        overview=engine.overview(),
        calls=engine.histograms(),
        requests=merge(each.figures() for each in counters),
        lookups=None if cache is None else cache.outcomes,
        answers=None if own_cache is None else await own_cache.figures(),
        payloads=None if serving.payload_log is None else serving.payload_log.counts,
        log_lines_dropped=dropped_lines(),
        bodies_bytes=serving.body_budget.taken,
        version=VERSION,
    )


async def shared_figures(serving: Serving) -> Figures:
    """Return the figures of what all processes have in common."""
    found: Figures = {}

    if serving.jobs is not None:
        found |= job_figures(await _jobs(serving.jobs))

    if serving.cache is not None and serving.cache.shared:
        found |= cache_figures(await serving.cache.figures())

    return found


@asynccontextmanager
async def published(serving: Serving) -> AsyncIterator[None]:
    """Let other processes know this one's figures while the block runs, if they ask."""
    folder = serving.figure_folder
    if folder is None:
        yield
        return

    with ExitStack() as stack:
        try:
            stack.enter_context(folder)
        except FiguresUnreadable as exc:
            log.error("metrics can't be shared", reason=str(exc))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_publish_often, serving, folder)
            yield
            tasks.cancel_scope.cancel()

        # The last requests too count when this process has gone.
        await _publish(serving, folder)


async def _publish_often(serving: Serving, folder: FigureFolder) -> None:
    while True:
        began = anyio.current_time()
        await _publish(serving, folder)
        # With thousands of models the figures are many.
        took = anyio.current_time() - began
        await anyio.sleep(max(PUBLISH_SECONDS, took / PUBLISH_SHARE))


async def _publish(serving: Serving, folder: FigureFolder) -> None:
    snapshot = await take_snapshot(serving)

    # A scrape that meets the same trouble says so.
    with suppress(FiguresUnreadable):
        await anyio.to_thread.run_sync(
            lambda: folder.publish(snapshot.figures()),
            limiter=serving.metrics_limiter,
        )


async def _jobs(jobs: Jobs) -> JobFigures | None:
    try:
        store = await jobs.store()
        counts, oldest = await store.counts(), await store.oldest_queued()
    except StoreUnavailable:
        return None

    age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
    by_status = {str(status): count for status, count in counts.items()}
    return JobFigures(counts=by_status, oldest_queued_seconds=age)
