"""Keras 3 `.h5` files whose layers and operations work along several axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from inference.formats.keras.loading import keep_axes
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path, floats

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Work = Callable[[Any], Any]

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept"),
]

SHAPE = (4, 5, 3)

OPERATIONS: dict[str, Work] = {
    "mean": lambda x: ops.mean(x, axis=(1, 2), keepdims=True),
    "sum": lambda x: ops.sum(x, axis=[1, 2]),
    "max from the end": lambda x: ops.max(x, axis=(-2, -1)),
    "var": lambda x: ops.var(x, axis=(1, 3)),
    "median": lambda x: ops.median(x, axis=(1, 2)),
    "logsumexp": lambda x: ops.logsumexp(x, axis=(1, 2)),
    "norm": lambda x: ops.norm(x, axis=(1, 2)),
    "flip": lambda x: ops.flip(x, axis=(1, 2)),
    "roll": lambda x: ops.roll(x, (1, 2), axis=(1, 2)),
    "expand_dims": lambda x: ops.expand_dims(x, axis=(1, 2)),
    "all": lambda x: ops.cast(ops.all(x > -1.5, axis=(1, 2)), "float32"),
    "one axis in a list": lambda x: ops.sum(x, axis=[2]),
}

LAYERS: dict[str, Callable[[], Any]] = {
    "LayerNormalization": lambda: layers.LayerNormalization(axis=[1, 2]),
    "Softmax": lambda: layers.Softmax(axis=(1, 2)),
    "UnitNormalization": lambda: layers.UnitNormalization(axis=(1, 3)),
    "Normalization": lambda: layers.Normalization(
        axis=(1, 3), mean=floats(4, 3).tolist(), variance=np.ones((4, 3)).tolist()
    ),
    "TimeDistributed": lambda: layers.TimeDistributed(layers.Softmax(axis=(1, 2))),
    "nested": lambda: keras.Sequential(
        [keras.Input(SHAPE), layers.UnitNormalization(axis=(1, 2))]
    ),
    "BatchNormalization of one": lambda: layers.BatchNormalization(axis=2),
}


def answers_as_keras(folder: Path, work: Work) -> None:
    x = keras.Input(SHAPE)
    model = keras.Model(x, work(x))
    model.save(folder / "model.h5")
    values = floats(2, *SHAPE)

    with Servable(compile_path(folder / "model.h5", folder / "artifact")) as servable:
        (name,) = servable.signatures["serving_default"].inputs
        (given,) = servable.run("serving_default", {name: values}).values()

    np.testing.assert_allclose(given, model(values), atol=1e-5)


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_along_several_axes(tmp_path: Path, name: str) -> None:
    answers_as_keras(tmp_path, OPERATIONS[name])


@pytest.mark.parametrize("name", LAYERS)
def test_layers_along_several_axes(tmp_path: Path, name: str) -> None:
    answers_as_keras(tmp_path, lambda x: LAYERS[name]()(x))


def test_only_an_axis_of_several_is_kept() -> None:
    config = keep_axes({"a": [{"axis": [1, 2], "b": 1}, {"axis": [3]}]})
    several, one = config["a"]

    assert several.pop("axis", None) is None
    assert several == {"axis": (1, 2), "b": 1}
    assert several.pop("b") == 1
    assert one.pop("axis", None) == [3]
