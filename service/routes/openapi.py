"""The OpenAPI document of the models that are served, and a page that shows it."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, request, send_from_directory
from werkzeug.exceptions import NotFound

import service.openapi
from inference import ModelSpec
from service.openapi.document import Described
from service.openapi.models import Address
from service.web.compression import accepted_coding
from service.web.context import current_request, current_serving
from service.web.keys import check_all_models, check_model
from service.web.response import encoded_json_response
from service.web.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Response

    from inference import Engine, ModelStatus

FOLDER = Path(service.openapi.__file__).parent / "swagger"
PAGE = "index.html"
ASSETS = frozenset({"swagger-ui-bundle.js", "swagger-ui.css", "start.js"})
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""A content security policy: nothing of other hosts, no inline scripts and styles."""

bp = Blueprint("openapi", __name__)


@bp.get("/openapi.json")
async def show_document() -> Response:
    """Answer with the document of all models, or of that in the query's `model`."""
    this, serving = current_request(), current_serving()
    wanted = this.args.get("model")
    if wanted is None:
        check_all_models()
    else:
        check_model(wanted)

    described = Described(
        version=VERSION,
        root=request.script_root,
        models=list(addresses(serving.engine, wanted)),
        jobs=serving.jobs is not None,
        admin=serving.admin_token is not None,
        keys=serving.keys is not None,
    )
    documents = serving.documents
    whole = wanted is None
    document = await (documents.kept if whole else documents.made)(described)
    zipped = accepted_coding(this) == "gzip"
    response = encoded_json_response(document.zipped if zipped else document.text)
    if zipped:
        response.headers["Content-Encoding"] = "gzip"

    response.headers["Vary"] = "Accept-Encoding"
    # Models come and go: a copy is used only after asking whether it is still right.
    response.headers["Cache-Control"] = "no-cache"
    response.set_etag(document.tag, weak=True)
    response.make_conditional(this)
    return response


# Plain functions, since files are read: they run in threads.
@bp.get("/docs")
def show_page() -> Response:
    return _asset(PAGE)


@bp.get("/docs/<file>")
def show_asset(file: str) -> Response:
    if file not in ASSETS:
        raise NotFound

    return _asset(file)


def addresses(engine: Engine, model: str | None = None) -> Iterator[Address]:
    """Yield the addresses of all models, or of one: without a version, and with one.

    A version has an address of its own if there are several, and at each of its
    labels. Raise `ModelNotFound`.
    """
    statuses = engine.models() if model is None else engine.versions(model)
    for name, group in groupby(statuses, key=lambda status: status.id.name):
        versions = list(group)
        yield Address(name, engine.status(ModelSpec(name=name)))
        if len(versions) > 1:
            yield from map(_versioned, versions)

        for status in versions:
            for label in status.labels:
                yield Address(f"{name}/labels/{label}", status, label=True)


def _versioned(status: ModelStatus) -> Address:
    return Address(f"{status.id.name}/versions/{status.id.version}", status)


def _asset(name: str) -> Response:
    response = send_from_directory(FOLDER, name)
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
