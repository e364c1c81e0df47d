"""Admin calls: an operator's actions, with the token of `--admin-token-file`.

Every call is logged, refused ones too: the action, the model, the client.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
import structlog
from flask import Blueprint, g, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import NotFound, Unauthorized

from inference import ModelSpec
from service.auth.bearer import bearer_token
from service.codecs.admin import (
    Changes,
    Concurrency,
    Drain,
    Labels,
    Nothing,
    Pin,
    decode,
)
from service.codecs.tfserving.status import models_document
from service.web.context import (
    current_application,
    current_engine,
    current_request,
    current_serving,
)
from service.web.json_body import read_json_body
from service.web.response import json_response
from service.web.routing import ADMIN
from service.web.runtime_settings import RUNTIME_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response
    from pydantic import BaseModel

    from service.web.runtime_settings import RuntimeSettings

CLOSED = (
    "the admin calls are off: start the server with --admin-token-file FILE, or"
    " TANDEM_ADMIN_TOKEN_FILE, where FILE holds a token"
)
WANTED = (
    "admin calls need the token of --admin-token-file: send it in the header"
    " 'Authorization: Bearer TOKEN'"
)
WHOLE: Mapping[type[BaseModel], str] = {Labels: "labels", Changes: "settings"}
"""Bodies whose keys are a client's own, and their name in the log."""

WRONG = "the token isn't that of the server's --admin-token-file"

bp = Blueprint("admin", __name__, url_prefix=ADMIN)
log = structlog.get_logger("tandem.admin")

B = TypeVar("B", bound="BaseModel")


@bp.before_request
async def authorize() -> None:
    """Check the token. Raise `NotFound` if the calls are off, or `Unauthorized`."""
    token = current_serving().admin_token
    if token is None:
        raise NotFound(CLOSED)

    # WSGI has decoded it as Latin-1.
    header = request.headers.get("Authorization", "").encode("latin-1", "replace")
    sent = bearer_token(header)
    if sent is None:
        raise unauthorized(WANTED)

    if not await token.matches(sent):
        raise unauthorized(WRONG, error="invalid_token")


def unauthorized(text: str, **why: str) -> Unauthorized:
    challenge = WWWAuthenticate("bearer", {"realm": "Tandem admin", **why})
    return Unauthorized(text, www_authenticate=challenge)


@bp.after_request
def log_act(response: Response) -> Response:
    """Log the call; for a refused one with the error that the client got."""
    status = response.status_code
    if status >= 400:
        reason = orjson.loads(response.get_data())["error"]
        log.warning("admin act refused", **describe(), status=status, reason=reason)
    elif request.method != "OPTIONS":
        log.info("admin act", **describe(), status=status)

    return response


@bp.teardown_request
def log_abandoned(error: BaseException | None) -> None:
    if isinstance(error, asyncio.CancelledError):
        log.warning("admin act abandoned: its client has disconnected", **describe())


def describe() -> dict[str, Any]:
    """Return the call's log fields: action, model, body, client; never the token."""
    act = (request.endpoint or "").rpartition(".")[2]
    view = request.view_args or {}
    named = {"model": view.get("name"), "version": view.get("version")}
    given = {key: value for key, value in named.items() if value is not None}
    body = g.get("admin_body", {})
    return {"act": act, **given, **body, "client": request.remote_addr}


def read(kind: type[B]) -> B:
    """Decode the body of this request, and keep it for the log."""
    with current_serving().body_budget.reservation() as reservation:
        body = b"".join(read_json_body(current_request(), reservation))

    value = decode(body, kind)
    dumped = value.model_dump()
    name = WHOLE.get(kind)
    g.admin_body = dumped if name is None else {name: dumped}
    return value


def answer(name: str) -> Response:
    """Answer with the model's entry of `GET /v1/models`, with all its versions."""
    versions = current_engine().versions(name)
    [entry] = models_document(versions, request.script_root)
    return json_response(entry)


@bp.post("/models/<model:name>/load")
@bp.post("/models/<model:name>/versions/<version:version>/load")
async def load(name: str, version: int | None = None) -> Response:
    read(Nothing)
    await current_engine().load(ModelSpec(name=name, version=version))
    return answer(name)


@bp.post("/models/<model:name>/unload")
@bp.post("/models/<model:name>/versions/<version:version>/unload")
async def unload(name: str, version: int | None = None) -> Response:
    read(Nothing)
    await current_engine().unload(ModelSpec(name=name, version=version))
    return answer(name)


@bp.post("/rescan")
async def rescan() -> Response:
    read(Nothing)
    engine = current_engine()
    problems = await engine.rescan()
    models = models_document(engine.models(), request.script_root)
    return json_response({"problems": problems, "models": models})


@bp.put("/models/<model:name>/labels")
async def label(name: str) -> Response:
    await current_engine().label(name, read(Labels).root)
    return answer(name)


@bp.put("/models/<model:name>/pin")
@bp.put("/models/<model:name>/versions/<version:version>/pin")
async def pin(name: str, version: int | None = None) -> Response:
    spec = ModelSpec(name=name, version=version)
    current_engine().pin(spec, read(Pin).pinned)
    return answer(name)


@bp.put("/models/<model:name>/concurrency")
@bp.put("/models/<model:name>/versions/<version:version>/concurrency")
async def resize(name: str, version: int | None = None) -> Response:
    spec = ModelSpec(name=name, version=version)
    current_engine().resize(spec, read(Concurrency).concurrency)
    return answer(name)


@bp.get("/settings")
async def show_settings() -> Response:
    return json_response({"settings": _runtime_settings().values()})


@bp.patch("/settings")
async def change_settings() -> Response:
    settings = _runtime_settings()
    settings.change(read(Changes).root)
    return json_response({"settings": settings.values()})


def _runtime_settings() -> RuntimeSettings:
    found: RuntimeSettings = current_application().extensions[RUNTIME_SETTINGS]
    return found


@bp.put("/drain")
async def drain() -> Response:
    engine = current_engine()
    engine.drain(read(Drain).draining)
    return json_response({"draining": engine.overview().draining})
