"""`.keras` files of Keras 2.12 to 2.15 with nested models."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import tf_keras
from tf_keras import layers as L

from tests.support.keras3 import answers, read_answers
from tests.support.keras_files import filled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEFORE = "_layer_checkpoint_dependencies"


def inner() -> Any:
    layers = [L.Dense(6, activation="relu"), L.BatchNormalization()]
    return tf_keras.Sequential([L.Input((8,)), *layers])


def functional() -> Any:
    taken = L.Input((8,))
    both = L.Concatenate()([L.Dense(3)(taken), L.Dense(2)(taken)])
    return tf_keras.Model(taken, both)


def around(model: Any) -> Any:
    taken = L.Input((8,))
    return tf_keras.Model(taken, L.Dense(2)(model(taken)))


def shared() -> Any:
    taken, model = L.Input((8,)), inner()
    return tf_keras.Model(taken, L.Add()([model(taken), model(taken * 2)]))


def trained() -> Any:
    model = around(functional())
    model.compile("adam", "mse")
    model.fit(np.ones((4, 8)), np.ones((4, 2)), verbose=0)
    return model


MODELS: dict[str, Callable[[], Any]] = {
    "functional": lambda: around(functional()),
    "sequential": lambda: tf_keras.Sequential([L.Input((8,)), inner(), L.Dense(2)]),
    "twice": lambda: around(around(inner())),
    "shared": shared,
    "many": lambda: tf_keras.Sequential(
        [L.Input((8,)), *(L.Dense(8, activation="tanh") for _ in range(5))]
    ),
    "repeated": lambda: tf_keras.Sequential(
        [L.Input((4, 8)), L.TimeDistributed(inner()), L.LSTM(3)]
    ),
    "trained": trained,
}


@pytest.mark.parametrize("name", MODELS)
def test_nested_models_are_read(tmp_path: Path, name: str) -> None:
    model = filled(MODELS[name]())
    path = tmp_path / "model.keras"
    model.save(path)

    np.testing.assert_allclose(read_answers(path, model), answers(model), rtol=1e-6)


def renamed(group: h5py.Group) -> None:
    for name in list(group):
        if isinstance(group[name], h5py.Group):
            renamed(group[name])

        if name == "layers":
            recounted(group[name])
            group.move(name, BEFORE)


def recounted(layers: h5py.Group) -> None:
    """Number layers with weights twice, as in a file of Keras 2.13.1."""
    weighted = [name for name in layers if "vars/0" in layers[name]]

    for name in sorted(weighted, reverse=True):
        kind, _, count = name.rpartition("_")

        if count.isdigit():
            layers.move(name, f"{kind}_{2 * int(count)}")


def as_of_2_13(path: Path) -> None:
    """Name the groups of weights as Keras 2.12 and 2.13 did."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}

    weights = io.BytesIO(members["model.weights.h5"])

    with h5py.File(weights, "a") as file:
        renamed(file)

    metadata = json.loads(members["metadata.json"]) | {"keras_version": "2.13.1"}
    members["model.weights.h5"] = weights.getvalue()
    members["metadata.json"] = json.dumps(metadata).encode()

    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("/layers/", f"/{BEFORE}/"), data)


@pytest.mark.parametrize("name", ["functional", "sequential", "twice", "many"])
def test_weights_under_older_names_are_read(tmp_path: Path, name: str) -> None:
    model = filled(MODELS[name]())
    path = tmp_path / "model.keras"
    model.save(path)
    as_of_2_13(path)

    np.testing.assert_allclose(read_answers(path, model), answers(model), rtol=1e-6)


def test_vocabularies_under_older_names_are_read(tmp_path: Path) -> None:
    lookup = L.TextVectorization(output_sequence_length=4)
    lookup.adapt(["a b c", "b d"])
    taken = L.Input((1,), dtype="string")
    model = tf_keras.Model(taken, L.Embedding(9, 3)(lookup(taken)))
    path = tmp_path / "model.keras"
    model.save(path)
    as_of_2_13(path)

    np.testing.assert_array_equal(read_answers(path, model), answers(model))
