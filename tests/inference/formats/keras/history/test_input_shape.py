"""Sequential models saved without the shape of their input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tf_keras
from tf_keras import layers as L

from inference.errors import InvalidModel
from inference.formats.keras.gate import admit
from inference.formats.keras.loading import load_model
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar
from tests.support.keras_files import answers, filled, rows, saved_as, stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Config = dict[str, Any]

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")


def inner() -> Any:
    return tf_keras.Sequential([L.Input((6, 6, 2)), L.Conv2D(2, 3), L.Flatten()])


MODELS: dict[str, Callable[[], Any]] = {
    "dense": lambda: stack((6,), L.Dense(3)),
    "conv2d": lambda: stack((6, 6, 2), L.Conv2D(3, 3), L.BatchNormalization()),
    "both_ways": lambda: stack((4, 3), L.Bidirectional(L.LSTM(2))),
    "wrapped_model": lambda: stack(
        (2, 6, 6, 2), L.TimeDistributed(inner()), L.Dense(1)
    ),
}


def unshaped(config: Config) -> None:
    """Remove the shape of the model's own input, not of nested models."""
    inner = config["config"]
    inner.pop("build_input_shape", None)
    config.pop("build_config", None)
    inner["layers"] = [
        layer for layer in inner["layers"] if layer["class_name"] != "InputLayer"
    ]

    for layer in inner["layers"]:
        layer.pop("build_config", None)
        layer["config"].pop("batch_input_shape", None)


@pytest.mark.parametrize("name", MODELS)
def test_sidecar_gives_the_missing_shape(tmp_path: Path, name: str) -> None:
    model = filled(MODELS[name]())
    path = saved_as(tmp_path / "model.h5", model, config=unshaped)
    inputs = rows(model)

    with pytest.raises(InvalidModel, match=r"no input shape is stored .* = \[4\] for"):
        admit(path, Permissions())

    sidecar = Sidecar(input_shape=inputs.shape[1:])
    keras_file = admit(path, Permissions(), sidecar)
    np.testing.assert_allclose(
        answers(load_model(tf_keras, keras_file), inputs),
        answers(model, inputs),
        rtol=1e-5,
    )


def test_shape_for_a_file_with_a_shape_is_refused(tmp_path: Path) -> None:
    path = saved_as(tmp_path / "model.h5", MODELS["dense"]())

    with pytest.raises(InvalidModel, match=r"has its own\. Remove the key"):
        admit(path, Permissions(), Sidecar(input_shape=(6,)))


def test_an_open_size_stays_open(tmp_path: Path) -> None:
    model = filled(stack((5, 2), L.Conv1D(3, 2), L.GlobalMaxPooling1D()))
    path = saved_as(tmp_path / "model.h5", model, config=unshaped)
    keras_file = admit(path, Permissions(), Sidecar(input_shape=(-1, 2)))

    assert load_model(tf_keras, keras_file).inputs[0].shape.as_list() == [None, None, 2]
