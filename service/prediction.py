"""A predict body in, a predict body out: what all routes of a codec call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference import PredictRequest
from service.codecs import tfserving

if TYPE_CHECKING:
    from inference import ModelSpec
    from service.engine import Engine


async def predict(engine: Engine, model: ModelSpec, body: bytes) -> bytes:
    """Answer a body in TensorFlow Serving's JSON. Raises `InferenceError`.

    A body that can't be read is refused before the model is looked up.
    """
    call = tfserving.decode(body)
    result = await engine.predict(
        PredictRequest(model=model, inputs=call.inputs, signature=call.signature)
    )
    return tfserving.encode(result.outputs, call.form)
