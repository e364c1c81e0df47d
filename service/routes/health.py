"""Probes: alive at once, ready when every model has loaded or failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint

from service.answers import json_answer
from service.codecs.model_status import readiness_document
from service.current import current_engine

if TYPE_CHECKING:
    from flask import Response

bp = Blueprint("health", __name__)


@bp.get("/livez")
async def livez() -> Response:
    return json_answer({"alive": True})


@bp.get("/readyz")
async def readyz() -> Response:
    engine = current_engine()
    ready = engine.ready()
    document = readiness_document(engine.models(), ready)
    return json_answer(document, 200 if ready else 503)
