"""TensorFlow Serving's REST API: predict, status, metadata, and a list of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, request

from inference import LoadFailed, ModelLoading, ModelSpec
from service.answers import json_answer, json_text
from service.codecs.metadata import metadata_document
from service.codecs.model_status import models_document, status_document
from service.current import current_engine, current_request, current_serving
from service.prediction import predict
from service.preferences import wait_seconds
from service.routes.body import read_json_body

if TYPE_CHECKING:
    from flask import Response

    from inference import ModelStatus

bp = Blueprint("tfserving", __name__, url_prefix="/v1/models")


@bp.get("")
async def list_models() -> Response:
    models = models_document(current_engine().models(), request.script_root)
    return json_answer({"models": models})


@bp.get("/<model:name>")
@bp.get("/<model:name>/versions/<version:version>")
async def show_status(name: str, version: int | None = None) -> Response:
    engine = current_engine()
    if version is None:
        return json_answer(status_document(engine.versions(name)))

    status = engine.status(ModelSpec(name=name, version=version))
    return json_answer(status_document([status]))


@bp.get("/<model:name>/metadata")
@bp.get("/<model:name>/versions/<version:version>/metadata")
async def show_metadata(name: str, version: int | None = None) -> Response:
    status = current_engine().status(ModelSpec(name=name, version=version))
    check_loaded(status)
    return json_answer(metadata_document(status))


@bp.post("/<model:name>:predict")
@bp.post("/<model:name>/versions/<version:version>:predict")
async def predict_model(name: str, version: int | None = None) -> Response:
    serving, this = current_serving(), current_request()
    spec = ModelSpec(name=name, version=version)
    wait = wait_seconds(this)
    # What can't be answered now is refused before its body is read.
    serving.engine.admit(spec)

    with serving.body_budget.loan() as loan:
        body = read_json_body(this, loan)
        answer = await predict(serving.engine, spec, body, serving.decoders, wait=wait)

    return json_text(answer)


def check_loaded(status: ModelStatus) -> None:
    """Raises `LoadFailed` or `ModelLoading` while no signatures are known."""
    if status.signatures:
        return

    if status.error is not None:
        raise LoadFailed(f"model {status.id} could not be loaded: {status.error}")

    raise ModelLoading(f"model {status.id} is {status.state}; ask again later")
