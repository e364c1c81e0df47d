"""Metrics for Prometheus, of the worker process that answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import anyio.to_thread
from flask import Blueprint, current_app, request

from service.jobs.store import StoreUnavailable
from service.telemetry.log_stream import dropped_lines
from service.telemetry.metrics import JobFigures, Snapshot, encode
from service.web.context import current_serving

if TYPE_CHECKING:
    from flask import Response

    from service.jobs.jobs import Jobs

bp = Blueprint("metrics", __name__)


@bp.get("/metrics")
async def metrics() -> Response:
    serving = current_serving()
    engine = serving.engine
    snapshot = Snapshot(
        models=engine.models(),
        overview=engine.overview(),
        keeps_jobs=serving.jobs is not None,
        jobs=await _job_figures(serving.jobs),
        cache=None if serving.cache is None else await serving.cache.figures(),
        log_lines_dropped=dropped_lines(),
        bodies_bytes=serving.body_budget.taken,
    )
    accept = request.headers.get("Accept", "")
    text, content_type = await anyio.to_thread.run_sync(
        encode, snapshot, accept, limiter=serving.metrics_limiter
    )
    return current_app.response_class(text, content_type=content_type)


async def _job_figures(jobs: Jobs | None) -> JobFigures | None:
    if jobs is None:
        return None

    try:
        store = await jobs.store()
        counts, oldest = await store.counts(), await store.oldest_queued()
    except StoreUnavailable:
        return None

    age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
    by_status = {str(status): count for status, count in counts.items()}
    return JobFigures(counts=by_status, oldest_queued_seconds=age)
