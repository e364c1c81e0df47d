"""An application of your own around served models: `uvicorn demo.seed_app:app`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, request

from inference import UNNAMED, ModelSpec, PredictRequest
from service.embedding import compose, current_engine, load_settings, predict_later

if TYPE_CHECKING:
    from flask import Response

routes = Blueprint("digits", __name__)


@routes.post("/read")
async def read_digit() -> Response:
    """Ask a frozen graph (.pb), later: 202 with a job, whose result is fetched."""
    return await predict_later(ModelSpec(name="digits"), request.get_data())


@routes.post("/look")
async def look_at_digit() -> dict[str, Any]:
    """Ask a Keras model (.h5), now: ?features=1 adds what an inner layer gives."""
    wanted = ("probabilities", "features") if "features" in request.args else None
    body = request.get_json()
    if not isinstance(body, dict) or "instances" not in body:
        abort(400, 'send {"instances": [image, ...]}')

    images = {UNNAMED: body["instances"]}
    result = await current_engine().predict(
        PredictRequest(
            model=ModelSpec(name="digits_cnn"), inputs=images, outputs=wanted
        )
    )
    return {name: array.tolist() for name, array in result.outputs.items()}


app = compose(load_settings(models=Path("models")), routes)
