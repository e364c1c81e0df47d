"""The page for people: its files. Its URL tells what it shows."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Blueprint, request, send_from_directory
from werkzeug.exceptions import NotFound

import service.dashboard
from service.routes.openapi import POLICY
from service.web.context import current_application

if TYPE_CHECKING:
    from flask import Response

FOLDER = Path(service.dashboard.__file__).parent / "page"
PAGE = "index.html"
ASSETS = frozenset(
    {
        *("app.js", "api.js", "key.js", "feed.js", "format.js", "html.js"),
        *("models.js", "charts.js", "acts.js", "admin.js"),
        *("model.js", "try.js", "tensors.js", "inputs.js", "pad.js"),
        *("answer.js", "snippets.js"),
        *("icon.svg", "style.css"),
        *("vendor/preact.js", "vendor/hooks.js", "vendor/htm.js"),
        *("vendor/uplot.js", "vendor/uplot.css"),
    }
)

bp = Blueprint("page", __name__)


@bp.get("/models/<model:name>")
async def show_model_page(name: str) -> Response:
    return page()


# A plain function, since files are read: it runs in threads.
@bp.get("/page/<path:file>")
def show_asset(file: str) -> Response:
    if file not in ASSETS:
        raise NotFound

    return _guarded(send_from_directory(FOLDER, file))


def page() -> Response:
    """Return the page; it finds by its URL what it is to show."""
    root = "../" if request.path.startswith("/models/") else ""
    html = _html().replace("{root}", root)
    response = current_application().response_class(html, mimetype="text/html")
    response.headers["Vary"] = "Accept"
    return _guarded(response)


@cache
def _html() -> str:
    return (FOLDER / PAGE).read_text("utf-8")


def _guarded(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
