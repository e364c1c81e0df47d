"""The models of a SageMaker multi-model endpoint: loaded, listed and unloaded by it.

As in "Custom Containers Contract for Multi-Model Endpoints" of Amazon SageMaker AI. The
platform alone reaches its container, and sends no token.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from flask import Blueprint
from werkzeug.exceptions import BadRequest, Conflict, HTTPException, NotFound

from inference import LoadFailed, ModelNotFound, ModelSpec, ModelState
from service.codecs.admin import Folder, decode
from service.web.context import current_engine, current_request, current_serving
from service.web.hosting import SAGEMAKER
from service.web.json_body import read_json_body
from service.web.response import json_response

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flask import Response

    from inference import Engine

PAGE = 1000
SERVO = Path("export/Servo")
"""The folder of versions in archives of SageMaker's first TensorFlow containers."""


class InsufficientStorage(HTTPException):
    """The model takes more memory than there is: SageMaker unloads others."""

    code = 507


def sagemaker_routes(links: Path, roots: Iterable[Path]) -> Blueprint:
    """Return the routes of a multi-model endpoint.

    `links` is the repository; a model is a link in it to the folder that the platform
    names, which must lie below one of `roots`.
    """
    bp = Blueprint("sagemaker", __name__, url_prefix=SAGEMAKER)
    allowed = tuple(root.resolve() for root in roots)

    @bp.post("")
    async def load_model() -> Response:
        with current_serving().body_budget.reservation() as reservation:
            body = b"".join(read_json_body(current_request(), reservation))

        wanted = decode(body, Folder)
        link = links / wanted.model_name
        await anyio.to_thread.run_sync(_link, link, Path(wanted.url), allowed)
        await _load(current_engine(), link)
        return json_response(_entry(link))

    @bp.get("")
    async def list_models() -> Response:
        start = current_request().args.get("next_page_token", "")
        served = sorted(_served(current_engine()))
        return json_response(_page(links, [name for name in served if name >= start]))

    @bp.get("/<name>")
    async def show_model(name: str) -> Response:
        return json_response(_entry(_find(links, name)))

    @bp.delete("/<name>")
    async def unload_model(name: str) -> Response:
        link = _find(links, name)
        await current_engine().unload(ModelSpec(name=name))
        await _forget(current_engine(), link)
        return json_response({})

    return bp


def _served(engine: Engine) -> set[str]:
    return {
        status.id.name
        for status in engine.models()
        if status.state is ModelState.AVAILABLE
    }


def _find(links: Path, name: str) -> Path:
    if name not in _served(current_engine()):
        raise NotFound(f"The model '{name}' isn't loaded.")

    return links / name


def _page(links: Path, names: Sequence[str]) -> dict[str, Any]:
    page = {"models": [_entry(links / name) for name in names[:PAGE]]}
    rest = names[PAGE:]
    return page | ({"nextPageToken": rest[0]} if rest else {})


def _entry(link: Path) -> dict[str, str]:
    return {"modelName": link.name, "modelUrl": str(link.readlink())}


def _link(link: Path, url: Path, roots: tuple[Path, ...]) -> None:
    """Link a model's folder into the repository."""
    real = url.resolve()
    if not any(real.is_relative_to(root) for root in roots):
        below = ", ".join(map(str, roots))
        raise BadRequest(f"'url' must name a folder below {below}, not {url}.")

    if not real.is_dir():
        raise BadRequest(f"'url' names no folder: {url}.")

    versions = real / SERVO
    try:
        link.symlink_to(versions if versions.is_dir() else real)
    except FileExistsError:
        raise Conflict(f"The model '{link.name}' is loaded already.") from None


async def _load(engine: Engine, link: Path) -> None:
    """Load the model that `link` leads to; remove the link if that fails."""
    try:
        await engine.rescan()
        await engine.load(ModelSpec(name=link.name))
    except (ModelNotFound, LoadFailed) as exc:
        await _forget(engine, link)
        raise _failure(exc, engine) from None


async def _forget(engine: Engine, link: Path) -> None:
    await anyio.to_thread.run_sync(lambda: link.unlink(missing_ok=True))
    await engine.rescan()


def _failure(error: Exception, engine: Engine) -> HTTPException:
    if "memory" in str(error):
        return InsufficientStorage(str(error))

    problems = " ".join(engine.problems()) if isinstance(error, ModelNotFound) else ""
    return BadRequest(problems or str(error))
