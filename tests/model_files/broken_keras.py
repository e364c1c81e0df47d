"""Keras files that can't be served, and HDF5 and zip files that aren't Keras files."""

from __future__ import annotations

import json
import random
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
import tf_keras
from keras import layers

if TYPE_CHECKING:
    from pathlib import Path

HALF = 0.5


class Gate(layers.Layer):  # type: ignore[misc]
    """A class that no server has."""

    def call(self, inputs: Any) -> Any:
        return inputs * HALF


class OldGate(tf_keras.layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs * HALF


class Subclassed(tf_keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.scale = tf_keras.layers.Dense(3, name="scale")

    def call(self, inputs: Any) -> Any:
        return self.scale(inputs)


def chain(*stack: Any) -> Any:
    return keras.Sequential([keras.Input((4,), name="x"), *stack])


def dense() -> Any:
    return chain(layers.Dense(8, name="hidden"), layers.Dense(2, name="y"))


def saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def h5_custom_layer(folder: Path) -> Path:
    return saved(chain(Gate(name="gate_7")), folder / "model.h5")


def zip_custom_layer(folder: Path) -> Path:
    return saved(chain(Gate(name="gate_7")), folder / "model.keras")


def h5_custom_layer_inside(folder: Path) -> Path:
    """Put the custom layer into a nested model."""
    inner = chain(Gate(name="gate_7"))
    return saved(chain(inner, layers.Dense(1)), folder / "model.h5")


def h5_keras2_custom_layer(folder: Path) -> Path:
    stack = [tf_keras.layers.Input((4,)), OldGate(name="gate_7")]
    return saved(tf_keras.Sequential(stack), folder / "model.h5")


def h5_custom_activation(folder: Path) -> Path:
    """Give a built-in layer a function that only its author has."""
    path = saved(dense(), folder / "model.h5")
    with h5py.File(path, "a") as file:
        config = file.attrs["model_config"].replace('"linear"', '"swoosh"')
        assert "swoosh" in config
        file.attrs["model_config"] = config

    return path


def h5_lambda(folder: Path) -> Path:
    squeeze = layers.Lambda(lambda x: x * 2.0, name="doubler")
    return saved(chain(squeeze), folder / "model.h5")


def zip_lambda(folder: Path) -> Path:
    squeeze = layers.Lambda(lambda x: x * 2.0, name="doubler")
    return saved(chain(squeeze), folder / "model.keras")


def sidecar_signature_of_a_keras_file(folder: Path) -> Path:
    """Declare signatures, which mustn't be ignored: the model has its own."""
    text = '[signatures.serving_default]\ninputs = ["x"]\n'
    (folder / "model.toml").write_text(text)
    return saved(dense(), folder / "model.h5")


def h5_keras1(folder: Path) -> Path:
    """Use a layer that Keras 2 removed."""
    path = saved(dense(), folder / "model.h5")
    old = {"name": "dense_1", "output_dim": 8, "init": "glorot_uniform"}
    old |= {"batch_input_shape": [None, 4], "activation": "relu", "bias": True}
    config = {"class_name": "Sequential", "config": [{"class_name": "MaxoutDense"}]}
    config["config"][0]["config"] = old  # type: ignore[index]
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "1.2.2"

    return path


def h5_weights_only(folder: Path) -> Path:
    path = folder / "model.weights.h5"
    dense().save_weights(path)
    return path.rename(folder / "model.h5")


def h5_keras2_weights_only(folder: Path) -> Path:
    """Use Keras 2's layout: `layer_names` at the root."""
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,))])
    model.save_weights(folder / "model.h5")
    return folder / "model.h5"


def h5_subclassed_weights(folder: Path) -> Path:
    """Save a subclassed model, which has no architecture to write."""
    model = Subclassed()
    model(np.zeros((1, 4), "float32"))
    model.save_weights(folder / "model.h5")
    return folder / "model.h5"


def h5_weights_with_other_json(folder: Path) -> Path:
    """Put the JSON of another model beside the weights."""
    path = h5_weights_only(folder)
    other = chain(layers.Dense(5, name="hidden"), layers.Dense(2, name="y"))
    path.with_suffix(".json").write_text(other.to_json())
    return path


def h5_no_keras(folder: Path) -> Path:
    with h5py.File(folder / "model.h5", "w") as file:
        file["measures"] = np.arange(12.0)

    return folder / "model.h5"


def h5_without_a_weight(folder: Path) -> Path:
    path = saved(dense(), folder / "model.h5")
    with h5py.File(path, "a") as file:
        del file["model_weights"]["hidden"]

    return path


def h5_cut(folder: Path) -> Path:
    return cut(saved(dense(), folder / "model.h5"))


def zip_cut(folder: Path) -> Path:
    return cut(saved(dense(), folder / "model.keras"))


def cut(path: Path) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    return path


def zip_without_config(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "model.keras", "w") as archive:
        archive.writestr("readme.txt", "a zip file, but no model")

    return folder / "model.keras"


def zip_without_weights(folder: Path) -> Path:
    whole = saved(dense(), folder / "whole.keras")
    with (
        zipfile.ZipFile(whole) as source,
        zipfile.ZipFile(folder / "model.keras", "w") as archive,
    ):
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, source.read(name))

    whole.unlink()
    return folder / "model.keras"


def h5_empty(folder: Path) -> Path:
    return written(folder / "model.h5", b"")


def zip_empty(folder: Path) -> Path:
    return written(folder / "model.keras", b"")


def h5_garbage(folder: Path) -> Path:
    return written(folder / "model.h5", random.Random(1).randbytes(4096))


def zip_garbage(folder: Path) -> Path:
    return written(folder / "model.keras", random.Random(2).randbytes(4096))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
