"""Dropout at inference: fresh masks, seeds, and statistics of samples."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from inference.backend import tf
from inference.errors import InvalidRequest
from inference.formats.keras.draws import drawn_from
from inference.types import UNNAMED, Sampling
from tests.support.echo import Held, ask, available
from tests.support.graphs import compile_path, floats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from inference.artifacts.artifact import Artifact
    from inference.lifecycle.model import Model
    from inference.types import Array

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept"
)

X = floats(3, 4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dropout")


@pytest.fixture(scope="module")
def own(folder: Path) -> Any:
    """Save a model with dropout, and return it."""
    x = keras.Input((4,), name="x")
    y = keras.layers.Dropout(0.5)(keras.layers.Dense(16, activation="tanh")(x))
    model = keras.Model(x, keras.layers.Dense(2, name="scores")(y))
    model.save(folder / "model.keras")
    return model


@pytest.fixture(scope="module")
def artifact(folder: Path, own: Any) -> Artifact:
    sidecar = folder / "model.toml"
    sidecar.write_text('training = "optional"')
    return compile_path(folder / "model.keras", folder / "artifact", sidecar)


@pytest.fixture
def servable(artifact: Artifact) -> Iterator[Held]:
    with Held(artifact) as servable:
        servable.gate.let_through()
        yield servable


async def answer(
    model: Model, inputs: Mapping[str, Any] | None = None, **sampling: Any
) -> dict[str, Array]:
    sent = {UNNAMED: X} if inputs is None else inputs
    result = await ask(model, inputs=sent, sampling=Sampling(**sampling))
    return dict(result.outputs)


def drawn(model: Any, seed: int) -> Array:
    """Return what Keras answers with the masks of `seed`."""
    with drawn_from(keras, tf.constant(seed, tf.int64)):
        return np.asarray(model(X, training=True))


async def test_masks_are_fresh_unless_a_seed_is_sent(servable: Held) -> None:
    async with available(servable) as model:
        fresh = [await answer(model, training=True) for _ in range(2)]
        seven = [await answer(model, training=True, seed=7) for _ in range(2)]
        usual = [await answer(model, training=each) for each in (None, False)]

    assert not np.allclose(fresh[0]["scores"], fresh[1]["scores"])
    np.testing.assert_array_equal(seven[0]["scores"], seven[1]["scores"])
    np.testing.assert_array_equal(usual[0]["scores"], usual[1]["scores"])


async def test_training_and_seed_are_inputs_too(servable: Held) -> None:
    async with available(servable) as model:
        beside = await answer(model, training=True, seed=7)
        inside = await answer(model, {"x": X, "training": True, "seed": 7})
        fresh = [await answer(model, {"x": X, "training": True}) for _ in range(2)]

    np.testing.assert_array_equal(beside["scores"], inside["scores"])
    assert not np.allclose(fresh[0]["scores"], fresh[1]["scores"])


async def test_samples_have_the_statistics_of_keras_own(
    servable: Held, own: Any
) -> None:
    async with available(servable) as model:
        found = await answer(model, samples=20, seed=100)
        kept = await answer(model, samples=20, seed=100, keep=True)

    wanted = np.stack([drawn(own, 100 + number) for number in range(20)], axis=1)
    assert list(found) == ["mean", "std"]
    np.testing.assert_allclose(kept["samples"], wanted, atol=1e-5)
    np.testing.assert_allclose(found["mean"], wanted.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(found["std"], wanted.std(axis=1), atol=1e-5)


async def test_the_largest_seed_is_followed_by_the_least(servable: Held) -> None:
    last = 2**63 - 1

    async with available(servable) as model:
        both = await answer(
            model, {"x": X, "seed": np.array(last)}, samples=2, keep=True
        )
        least = await answer(model, {"x": X, "training": True, "seed": -(2**63)})

    np.testing.assert_array_equal(both["samples"][:, 1], least["scores"])


@pytest.mark.parametrize(
    ("inputs", "sampling", "message"),
    [
        ({"x": X, "seed": 1}, {"seed": 1, "training": True}, "'seed' is sent twice"),
        ({"x": X, "training": False}, {"samples": 2}, "'training' is sent twice"),
        (None, {"samples": 2, "training": False}, "'training' is false"),
        (None, {"samples": 2**30, "keep": True}, "more than 67,108,864 bytes"),
    ],
)
async def test_contradictions_and_excess_are_refused(
    servable: Held,
    inputs: Mapping[str, Any] | None,
    sampling: dict[str, Any],
    message: str,
) -> None:
    async with available(servable) as model:
        with pytest.raises(InvalidRequest, match=message):
            await answer(model, inputs, **sampling)


async def test_samples_have_no_best_classes(servable: Held) -> None:
    async with available(servable) as model:
        with pytest.raises(InvalidRequest, match="don't go together"):
            await ask(model, inputs={UNNAMED: X}, top_k=1, sampling=Sampling(samples=2))


@pytest.mark.parametrize("sampling", [{"training": True}, {"seed": 1}, {"samples": 2}])
async def test_a_model_without_the_switch_says_how_to_get_it(
    servable: Held, sampling: dict[str, Any]
) -> None:
    signature = servable.signatures["serving_default"]
    servable.signatures["serving_default"] = replace(signature, seed=None)

    async with available(servable) as model:
        with pytest.raises(InvalidRequest, match='training = "optional"'):
            await answer(model, **sampling)

        assert await answer(model, training=False)


async def test_the_best_classes_are_those_of_keras(servable: Held, own: Any) -> None:
    async with available(servable) as model:
        assert model.instance is not None
        loaded = model.instance.loaded
        model.instance.loaded = replace(loaded, classes=("cat", "dog"))
        result = await ask(model, inputs={UNNAMED: X}, top_k=2)

    scores = np.asarray(own(X, training=False))
    order = np.argsort(-scores, axis=-1)
    names = np.array([b"cat", b"dog"], object)[order]
    assert result.outputs["classes"].tolist() == names.tolist()
    np.testing.assert_allclose(
        result.outputs["scores"], np.take_along_axis(scores, order, -1), atol=1e-5
    )
