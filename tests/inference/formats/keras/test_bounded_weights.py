"""Weights are counted while Keras builds, where the JSON alone doesn't tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import pytest
import tf_keras

from inference.errors import InvalidModel
from inference.formats.keras.gate import admit
from inference.formats.keras.sizes import bounded_weights
from inference.formats.opening import open_source
from inference.permissions import Permissions
from inference.repository.sidecar import read_sidecar
from tests.crafted.keras_parts import (
    KERAS_2,
    KERAS_3,
    h5_file,
    layer,
    members,
    own,
    sequential,
    zip_file,
)

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

# 14 GiB, of which the flattened input can't be told without running Keras' own rules.
HIDDEN = [
    layer("RepeatVector", "wide", n=15_000),
    layer("Flatten", "flat"),
    layer("Dense", "evil", units=60_000),
]


@pytest.mark.parametrize("version", [KERAS_2, KERAS_3])
def test_weights_are_refused_before_creation(tmp_path: Path, version: str) -> None:
    config = sequential(*HIDDEN)

    if version == KERAS_2:
        given = config["config"]["layers"][0]["config"]
        given["batch_input_shape"] = given.pop("batch_shape")

    path = h5_file(tmp_path / "model.h5", config, version=version)
    admit(path, Permissions())

    with pytest.raises(
        InvalidModel, match="asks for 3,600,000,000 weights .*'evil' .*have 65,584"
    ):
        open_source(path, read_sidecar(None), Permissions()).__enter__()


def test_weights_of_a_zip_are_limited(tmp_path: Path) -> None:
    stack = [own(each["class_name"], **each["config"]) for each in HIDDEN]
    path = zip_file(tmp_path / "model.keras", members(sequential(*stack)))

    with pytest.raises(InvalidModel, match="asks for 3,600,000,000 weights"):
        open_source(path, read_sidecar(None), Permissions()).__enter__()


@pytest.mark.parametrize("library", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_weights_are_counted_exactly(library: ModuleType) -> None:
    def build() -> None:
        stack = [library.layers.LSTM(3), library.layers.Dense(2)]
        library.Sequential(stack).build((None, 5, 4))

    weights = 4 * 3 * (4 + 3 + 1) + 3 * 2 + 2
    original = library.layers.Layer.add_weight

    with bounded_weights(library.layers.Layer, "model.h5", weights):
        build()

    with (
        pytest.raises(InvalidModel, match="model.h5: .* weights or more, layer 'dense"),
        bounded_weights(library.layers.Layer, "model.h5", weights - 1),
    ):
        build()

    assert library.layers.Layer.add_weight is original
