"""Probes: alive at once, ready when the models are, as `--ready-when` has it.

A draining server isn't ready, so that load balancers send clients elsewhere; it still
answers requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint

from service.codecs.tfserving.status import readiness_document
from service.web.context import current_serving
from service.web.response import json_response

if TYPE_CHECKING:
    from flask import Response

bp = Blueprint("health", __name__)


@bp.get("/livez")
async def livez() -> Response:
    return json_response({"alive": True})


@bp.get("/readyz")
async def readyz() -> Response:
    document = readiness()
    return json_response(document, 200 if document["ready"] else 503)


def readiness() -> dict[str, Any]:
    """Return whether this server is ready, and why, for the probes of any protocol."""
    serving = current_serving()
    engine = serving.engine
    return readiness_document(
        engine.models(),
        settled=engine.settled(),
        draining=engine.overview().draining,
        ready_when=serving.ready_when,
    )
