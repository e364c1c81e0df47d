from __future__ import annotations

import pytest

from inference import InvalidRequest, ModelNotFound, ModelSpec
from service.prediction import predict
from tests.service.fakes import FakeEngine, FakeModel

HALF = ModelSpec(name="half")


async def test_the_answer_has_the_form_of_the_question() -> None:
    engine = FakeEngine(FakeModel())

    rows = await predict(engine, HALF, b'{"instances": [1.0, 2.0]}')
    columns = await predict(engine, HALF, b'{"inputs": {"x": 1.0}}')

    assert (rows, columns) == (b'{"predictions":[2.5,3.0]}', b'{"outputs":2.5}')


async def test_the_request_that_the_engine_gets() -> None:
    engine = FakeEngine(FakeModel(version=3))
    spec = ModelSpec(name="half", version=3)

    await predict(
        engine, spec, b'{"signature_name": "serving_default", "inputs": {"x": [1]}}'
    )

    (request,) = engine.requests
    assert request.model == spec
    assert request.signature == "serving_default"
    assert request.inputs == {"x": [1]}
    assert request.outputs is None


async def test_a_bad_body_is_refused_before_the_model_is_looked_up() -> None:
    with pytest.raises(InvalidRequest):
        await predict(FakeEngine(), ModelSpec(name="unknown"), b"{")

    with pytest.raises(ModelNotFound):
        await predict(FakeEngine(), ModelSpec(name="unknown"), b'{"inputs": 1}')
