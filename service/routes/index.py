"""The index: version, models and URLs; for browsers, the page that shows them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from flask import Blueprint, current_app, request

from service.codecs.tfserving.status import models_document
from service.routes.page import page
from service.web.accept import prefers_html
from service.web.context import current_request, current_serving
from service.web.keys import allowed
from service.web.response import json_response
from service.web.routing import list_urls
from service.web.version import DISTRIBUTION, VERSION

if TYPE_CHECKING:
    from flask import Response

bp = Blueprint("index", __name__)


@bp.get("/")
async def index() -> Response:
    if prefers_html(current_request()):
        return page()

    serving = current_serving()
    engine, admin = serving.engine, serving.admin_token is not None
    models = models_document(allowed(engine.models()), request.script_root)
    response = json_response(
        {
            # KServe's clients look for it to tell that a server is alive.
            "status": "alive",
            "name": DISTRIBUTION,
            "version": VERSION,
            "engine": asdict(engine.overview()),
            "models": models,
            "urls": list_urls(current_app.url_map, admin=admin),
        }
    )
    response.headers["Vary"] = "Accept"
    return response
