"""Files of Keras 1 and 2, written by tf_keras and edited where it is too new."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import tf_keras
from tf_keras import layers

from tests.model_files.cases import Case, Example
from tests.model_files.channels import channels_first_case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.types import Array

LEFT_OUT = {
    "build_config",
    "groups",
    "module",
    "optional",
    "ragged",
    "registered_name",
    "time_major",
}
OLD_TRAINING = {
    "loss": "categorical_crossentropy",
    "metrics": ["acc"],
    "loss_weights": None,
    "sample_weight_mode": None,
    "optimizer_config": {
        "class_name": "Adam",
        "config": {"lr": 0.001, "decay": 0.0, "beta_1": 0.9, "epsilon": 1e-08},
    },
}


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def floats(*shape: int) -> Array:
    return rng().normal(size=shape).astype("float32")


def settle(model: Any) -> Any:
    """Give every weight a value that a wrong reading would show."""
    source = rng()
    for weight in model.weights:
        value = source.normal(scale=0.6, size=weight.shape)
        weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)

    return model


def answer(model: Any, names: list[str], **inputs: Array) -> Example:
    """Return the model's own outputs, called `names` in their order."""
    feed: Any = list(inputs.values())
    made = model(feed[0] if len(feed) == 1 else feed, training=False)
    values = [made] if len(names) == 1 else made
    outputs = {
        name: np.asarray(value) for name, value in zip(names, values, strict=True)
    }
    return Example(inputs=inputs, outputs=outputs)


def without_news(config: Any) -> Any:
    """Return the config without the keys of later versions."""
    if isinstance(config, list):
        return [without_news(item) for item in config]

    if not isinstance(config, dict):
        return config

    return {k: without_news(v) for k, v in config.items() if k not in LEFT_OUT}


def age(path: Path, version: str, change: Callable[[Any], Any]) -> None:
    """Make a file say `version`, with the model's config as it was written then."""
    with h5py.File(path, "a") as file:
        config = change(without_news(json.loads(file.attrs["model_config"])))
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["training_config"] = json.dumps(OLD_TRAINING).encode()
        for group in (file, file["model_weights"]):
            group.attrs["keras_version"] = version.encode()


def without_input_layer(config: Any) -> Any:
    """Return a Sequential of before Keras 2.2: a list, its shape in the first layer."""
    stack = config["config"]["layers"]
    return config | {"config": [x for x in stack if x["class_name"] != "InputLayer"]}


def named_without_input_layer(config: Any) -> Any:
    """Return a Sequential of Keras 2.2: name and layers, shape in the first layer."""
    stack = without_input_layer(config)["config"]
    return config | {"config": {"name": config["config"]["name"], "layers": stack}}


def called_model(config: Any) -> Any:
    return config | {"class_name": "Model"}


def dense() -> Any:
    stack = [
        layers.Dense(8, activation="relu", input_shape=(5,), name="dense_1"),
        layers.Dropout(0.5, name="dropout_1"),
        layers.Dense(3, activation="softmax", name="dense_2"),
    ]
    return settle(tf_keras.Sequential(stack, name="sequential_1"))


def dense_case(model: Any, path: Path) -> Case:
    example = answer(model, ["dense_2"], dense_1_input=floats(4, 5))
    return Case(path=path, examples=(example,), batchable=True)


def h5_keras2_sequential(folder: Path) -> Case:
    """As Keras 2.2.4 wrote it: `batch_input_shape`, and an optimizer with `lr`."""
    path, model = folder / "model.h5", dense()
    model.save(path)
    age(path, "2.2.4", named_without_input_layer)
    return dense_case(model, path)


def h5_keras2_sequential_list(folder: Path) -> Case:
    """As Keras 2.1.6 wrote it: the config is a bare list of layers."""
    path, model = folder / "model.h5", dense()
    model.save(path)
    age(path, "2.1.6", without_input_layer)
    return dense_case(model, path)


def recurrent(path: Path, *layer_list: Any) -> Case:
    """Return a functional Keras 2.2.4 model of `layers`, which return sequences."""
    signal = hidden = layers.Input((6, 3), name="signal")
    for layer in layer_list:
        hidden = layer(hidden)

    level = layers.Dense(2, name="level")(hidden)
    model = settle(tf_keras.Model(signal, level, name="model_1"))
    model.save(path)
    age(path, "2.2.4", called_model)
    example = answer(model, ["level"], signal=floats(3, 6, 3))
    return Case(path=path, examples=(example,), batchable=True)


def gru(name: str) -> Any:
    return layers.GRU(
        4,
        recurrent_activation="hard_sigmoid",
        reset_after=False,
        return_sequences=True,
        name=name,
    )


def h5_keras2_hard_sigmoid(folder: Path) -> Case:
    """Keras 3 reads it silently, with other outputs."""
    lstm = layers.LSTM(
        5, recurrent_activation="hard_sigmoid", return_sequences=True, name="lstm_1"
    )
    return recurrent(folder / "model.h5", lstm, gru("gru_1"))


def h5_keras2_bidirectional(folder: Path) -> Case:
    """The old GRU inside a wrapper, where Keras 3 repairs nothing."""
    both = layers.Bidirectional(gru("gru_1"), name="bidirectional_1")
    return recurrent(folder / "model.h5", both)


def h5_keras2_conv(folder: Path) -> Case:
    """Batch norm and layers inside `TimeDistributed`."""
    path = folder / "model.h5"
    frames = layers.Input((4, 8, 8, 1), name="frames")
    hidden = layers.TimeDistributed(layers.Conv2D(3, 3, name="conv"), name="each")(
        frames
    )
    hidden = layers.BatchNormalization(name="norm")(hidden)
    hidden = layers.GlobalAveragePooling3D(name="pool")(hidden)
    score = layers.Dense(2, activation="sigmoid", name="score")(hidden)
    model = settle(tf_keras.Model(frames, score, name="video"))
    model.save(path)
    example = answer(model, ["score"], frames=floats(2, 4, 8, 8, 1))
    return Case(path=path, examples=(example,), batchable=True)


def two_in_two_out() -> Any:
    left = layers.Input((3,), name="left")
    right = layers.Input((2,), name="right")
    hidden = layers.Concatenate(name="joined")([left, right])
    score = layers.Dense(1, name="score")(hidden)
    label = layers.Dense(4, activation="softmax", name="label")(hidden)
    return settle(tf_keras.Model([left, right], [score, label], name="two"))


def two_in_two_out_case(model: Any, path: Path) -> Case:
    inputs = {"left": floats(5, 3), "right": floats(5, 2)}
    example = answer(model, ["score", "label"], **inputs)
    return Case(path=path, examples=(example,), batchable=True)


def zip_keras2_two_in_two_out(folder: Path) -> Case:
    path, model = folder / "model.keras", two_in_two_out()
    model.save(path)
    return two_in_two_out_case(model, path)


def keras2_weights_with_json(folder: Path) -> Case:
    path, model = folder / "model.h5", two_in_two_out()
    model.save_weights(path)
    path.with_suffix(".json").write_text(model.to_json())
    return two_in_two_out_case(model, path)


def saved_keras2_trained(folder: Path) -> Case:
    """A SavedModel with optimizer slots, which only the v1 loader reads alone."""
    path, model = folder / "model", two_in_two_out()
    model.compile("adam", ["mse", "mse"])
    inputs, targets = [floats(8, 3), floats(8, 2)], [floats(8, 1), floats(8, 4)]
    model.train_on_batch(inputs, targets)
    model.save(path, save_format="tf")
    return two_in_two_out_case(model, path)


class Halving(tf_keras.Model):  # type: ignore[misc]
    """A class that the reader doesn't have; the graph is enough."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = layers.Dense(3, name="scale")

    def call(self, inputs: Any) -> Any:
        return self.scale(inputs) / 2.0


def saved_keras2_subclassed(folder: Path) -> Case:
    path, model = folder / "model", Halving()
    model(floats(2, 4))
    settle(model).save(path, save_format="tf")
    example = answer(model, ["output_1"], input_1=floats(3, 4))
    return Case(path=path, examples=(example,), batchable=True)


def h5_keras2_channels_first(folder: Path) -> Case:
    return channels_first_case(tf_keras, folder / "model.h5")
