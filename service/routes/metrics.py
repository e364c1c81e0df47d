"""Metrics for Prometheus, of the worker process that answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
from flask import Blueprint, current_app, request

from service.telemetry.metrics import Snapshot, encode
from service.web.context import current_serving

if TYPE_CHECKING:
    from flask import Response

bp = Blueprint("metrics", __name__)


@bp.get("/metrics")
async def metrics() -> Response:
    serving = current_serving()
    engine = serving.engine
    snapshot = Snapshot(models=engine.models(), overview=engine.overview())
    accept = request.headers.get("Accept", "")
    text, content_type = await anyio.to_thread.run_sync(
        encode, snapshot, accept, limiter=serving.metrics_limiter
    )
    return current_app.response_class(text, content_type=content_type)
