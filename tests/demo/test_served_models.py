"""The demo models, served by the engine as `make serve` does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from demo.digits import split_digits
from demo.wine import split_wines
from inference import UNNAMED, Engine, EngineConfig, ModelSpec, PredictRequest
from tests import PROJECT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from inference import Array
    from tests.demo.conftest import Made

READERS = [
    pytest.param("digits", "scores", id="pb"),
    pytest.param("digits_cnn", "probabilities", id="h5"),
]


@pytest.fixture(scope="module")
async def engine(made: Made, cache: Path) -> AsyncIterator[Engine]:
    async with Engine(EngineConfig(repository=made.folder, cache=cache)) as engine:
        while not engine.ready():
            await engine.wait_changed()

        yield engine


async def test_every_demo_model_is_served(engine: Engine) -> None:
    states = {
        status.id.name: (status.format, status.error) for status in engine.models()
    }

    assert states == {
        "digits": ("frozen graph", None),
        "digits_cnn": ("Keras .h5", None),
        "half_plus_two": ("SavedModel", None),
        "wine": ("Keras .keras", None),
    }


@pytest.mark.parametrize(("model", "output"), READERS)
async def test_reads_held_out_digits(engine: Engine, model: str, output: str) -> None:
    _, held_out = split_digits()

    answer = await ask(engine, model, {"image": held_out.rows})

    assert accuracy(answer[output], held_out.labels) >= 0.95


@pytest.mark.parametrize(("model", "output"), READERS)
async def test_both_digit_models_answer_the_same_body(
    engine: Engine, model: str, output: str
) -> None:
    body = json.loads((PROJECT / "demo" / "digit.json").read_text())

    answer = await ask(engine, model, {UNNAMED: body["instances"]})

    assert answer[output].shape == (1, 10)
    assert answer[output][0, 7] > 0.99


async def test_the_frozen_graph_names_the_digit(engine: Engine) -> None:
    _, held_out = split_digits()

    answer = await ask(engine, "digits", {"image": held_out.rows})

    assert answer["digit"].dtype == np.int64
    assert np.array_equal(answer["digit"], answer["scores"].argmax(axis=1))


async def test_half_plus_two(engine: Engine) -> None:
    answer = await ask(engine, "half_plus_two", {UNNAMED: [1.0, 2.0, 5.0]})

    assert answer["y"].tolist() == [2.5, 3.0, 4.5]


async def test_classifies_held_out_wines(engine: Engine) -> None:
    _, held_out = split_wines()

    answer = await ask(engine, "wine", {"measurements": held_out.rows})

    assert accuracy(answer["cultivar"], held_out.labels) >= 0.95


async def ask(
    engine: Engine, model: str, inputs: Mapping[str, Any]
) -> Mapping[str, Array]:
    request = PredictRequest(model=ModelSpec(name=model), inputs=inputs)
    return (await engine.predict(request)).outputs


def accuracy(scores: Array, labels: Array) -> float:
    return float((scores.argmax(axis=1) == labels).mean())
