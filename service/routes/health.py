"""Probes: alive at once, started when all models have loaded or failed, ready as
`--ready-when` has it.

A draining server isn't ready, so that load balancers send clients elsewhere; it still
answers requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint

from service.codecs.health import (
    liveness_document,
    readiness_document,
    startup_document,
)
from service.web.context import current_engine, current_serving
from service.web.response import json_response

if TYPE_CHECKING:
    from flask import Response

bp = Blueprint("health", __name__)


@bp.get("/livez")
async def livez() -> Response:
    document = liveness_document(alive=current_engine().alive())
    return _probe(document, ok=document["alive"])


@bp.get("/startupz")
async def startupz() -> Response:
    engine = current_engine()
    document = startup_document(engine.models(), settled=engine.settled())
    return _probe(document, ok=document["started"])


@bp.get("/readyz")
async def readyz() -> Response:
    document = readiness()
    return _probe(document, ok=document["ready"])


def readiness() -> dict[str, Any]:
    """Return whether this server is ready, and why, for the probes of any protocol."""
    serving = current_serving()
    engine = serving.engine
    return readiness_document(
        engine.models(),
        settled=engine.settled(),
        draining=engine.overview().draining,
        ready_when=serving.ready_when,
        problems=engine.problems(),
    )


def _probe(document: dict[str, Any], *, ok: bool) -> Response:
    return json_response(document, 200 if ok else 503)
