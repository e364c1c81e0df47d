"""Files as Keras 1 and 2 wrote them, against the outputs of their models."""

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
from tests.support.keras_files import answers, filled, loaded, rows, saved_as, stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.types import Array

Config = dict[str, Any]

# These are the files in question.
pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")


def of_theano(name: str, value: Array) -> Array:
    """Flip the kernels that Theano convolves with; it flipped depthwise ones itself."""
    kernel = name.endswith(("/kernel:0", "recurrent_kernel:0"))
    plain = "depthwise" in name or "separable" in name or "local" in name
    turned = kernel and not plain and value.ndim > 2
    return np.flip(value, tuple(range(value.ndim - 2))) if turned else value


def nested() -> Any:
    inner = tf_keras.Sequential(
        [L.Input((6, 6, 2)), L.Conv2D(2, 3), L.BatchNormalization(), L.Conv2D(1, 2)],
        name="inner",
    )
    return tf_keras.Sequential(
        [L.Input((6, 6, 2)), inner, L.Conv2D(2, 2), L.Flatten(), L.Dense(2)]
    )


OF_THEANO: dict[str, Callable[[], Any]] = {
    "conv1d": lambda: stack((6, 2), L.Conv1D(3, 3)),
    "causal": lambda: stack((6, 2), L.Conv1D(3, 3, padding="causal")),
    "conv2d": lambda: stack((6, 6, 2), L.Conv2D(3, (3, 1), padding="same")),
    "dilated": lambda: stack((6, 6, 2), L.Conv2D(3, 2, dilation_rate=2)),
    "conv3d": lambda: stack((4, 4, 4, 2), L.Conv3D(2, (2, 3, 2))),
    "transposed2d": lambda: stack((4, 4, 2), L.Conv2DTranspose(3, 3, strides=2)),
    "transposed3d": lambda: stack((3, 3, 3, 2), L.Conv3DTranspose(2, 2)),
    "convlstm": lambda: stack((3, 5, 5, 2), L.ConvLSTM2D(2, 3, padding="same")),
    "wrapped": lambda: stack((3, 5, 5, 2), L.TimeDistributed(L.Conv2D(2, 3))),
    "both_ways": lambda: stack(
        (3, 5, 5, 1), L.Bidirectional(L.ConvLSTM2D(2, 3, return_sequences=True))
    ),
    "nested": nested,
    "wrapped_model": lambda: stack(
        (2, 6, 6, 2), L.TimeDistributed(nested()), L.Flatten(), L.Dense(1)
    ),
    "depthwise": lambda: stack((6, 6, 2), L.DepthwiseConv2D(3)),
    "separable": lambda: stack((6, 6, 2), L.SeparableConv2D(3, 3)),
    "local": lambda: stack((6, 2), L.LocallyConnected1D(3, 3)),
    "dense": lambda: stack((6,), L.Dense(3)),
}


@pytest.mark.parametrize("name", OF_THEANO)
def test_theano_kernels_give_theano_outputs(tmp_path: Path, name: str) -> None:
    model = filled(OF_THEANO[name]())
    path = saved_as(tmp_path / "model.h5", model, backend="theano", weights=of_theano)
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("backend", ["tensorflow", "cntk"])
def test_kernels_of_other_backends_are_unchanged(tmp_path: Path, backend: str) -> None:
    model = filled(OF_THEANO["conv2d"]())
    path = saved_as(tmp_path / "model.h5", model, backend=backend)
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5
    )


def test_an_unknown_backend_is_refused(tmp_path: Path) -> None:
    path = saved_as(tmp_path / "model.h5", OF_THEANO["dense"](), backend="mxnet")

    with pytest.raises(InvalidModel, match="the Keras backend 'mxnet'.*only cntk, jax"):
        admit(path, Permissions())


def without(*keys: str) -> Callable[[Config], object]:
    def edit(value: Any) -> None:
        children = value.values() if isinstance(value, dict) else value

        for key in keys if isinstance(value, dict) else ():
            value.pop(key, None)

        for child in children:
            if isinstance(child, dict | list):
                edit(child)

    return edit


UNSAID: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "gru": (
        lambda: stack((4, 2), L.GRU(3, reset_after=False, recurrent_activation=HARD)),
        ("reset_after", "recurrent_activation"),
    ),
    "gru_both_ways": (
        lambda: stack(
            (4, 2),
            L.Bidirectional(L.GRU(3, reset_after=False, recurrent_activation=HARD)),
        ),
        ("reset_after", "recurrent_activation"),
    ),
    "gru_cells": (
        lambda: stack(
            (4, 2),
            L.RNN(
                [
                    L.GRUCell(3, reset_after=False, recurrent_activation=HARD),
                    L.LSTMCell(2, recurrent_activation=HARD),
                ]
            ),
        ),
        ("reset_after", "recurrent_activation"),
    ),
    "lstm": (
        lambda: stack((4, 2), L.LSTM(3, recurrent_activation=HARD)),
        ("recurrent_activation", "implementation", "time_major"),
    ),
    "normalization": (
        lambda: stack((4,), L.BatchNormalization()),
        ("epsilon", "momentum", "renorm"),
    ),
}
HARD = "hard_sigmoid"


@pytest.mark.parametrize("name", UNSAID)
def test_missing_arguments_keep_their_old_defaults(tmp_path: Path, name: str) -> None:
    make, keys = UNSAID[name]
    model = filled(make())
    path = saved_as(
        tmp_path / "model.h5", model, version="2.1.6", config=without(*keys)
    )
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5
    )


def custom(key: str, value: Any) -> Callable[[Config], object]:
    def edit(config: Config) -> None:
        for layer in config["config"]["layers"]:
            if key in layer["config"]:
                layer["config"][key] = value

    return edit


OWN = {"module": "my_code", "class_name": "Mine", "config": {}, "registered_name": "M"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("kernel_initializer", {"class_name": "My", "config": {}}, id="i"),
        pytest.param("bias_initializer", "my_function", id="initializer_by_name"),
        pytest.param("depthwise_initializer", OWN, id="initializer_of_keras_3"),
        pytest.param("kernel_regularizer", {"class_name": "R", "config": {}}, id="r"),
        pytest.param("activity_regularizer", "my_regularizer", id="activity"),
        pytest.param("kernel_constraint", {"class_name": "C", "config": {}}, id="c"),
    ],
)
def test_custom_initializer_is_ignored(tmp_path: Path, key: str, value: Any) -> None:
    model = filled(
        stack((6, 6, 2), L.DepthwiseConv2D(2), L.Conv2D(2, 2), L.Flatten(), L.Dense(2))
    )
    path = saved_as(tmp_path / "model.h5", model, config=custom(key, value))
    inputs = rows(model)
    keras_file = admit(path, Permissions())

    assert any("was left out" in note for note in keras_file.notes)
    np.testing.assert_allclose(
        answers(load_model(tf_keras, keras_file), inputs),
        answers(model, inputs),
        rtol=1e-5,
    )


@pytest.mark.parametrize(
    "value",
    [
        {"class_name": "Lambda", "config": {"function": "x"}},
        {"class_name": "__lambda__", "config": {"value": "x"}},
        {"class_name": "function", "config": "system", "module": "os"},
        {"class_name": "Popen", "config": {}, "module": "subprocess"},
    ],
)
def test_code_as_initializer_is_refused(tmp_path: Path, value: Any) -> None:
    model = stack((6,), L.Dense(2))
    path = saved_as(
        tmp_path / "model.h5", model, config=custom("kernel_initializer", value)
    )

    with pytest.raises(InvalidModel):
        admit(path, Permissions())


def test_array_in_a_config_is_read_as_numbers(tmp_path: Path) -> None:
    model = stack((2,), L.Rescaling([2.0, 3.0], offset=[1.0, 0.0]))
    path = saved_as(
        tmp_path / "model.h5",
        model,
        config=custom("scale", {"type": "ndarray", "value": [2.0, 3.0]}),
    )

    found = answers(loaded(path), np.ones((1, 2), "float32"))
    np.testing.assert_allclose(found, [[3.0, 3.0]])


@pytest.mark.parametrize(
    ("layer", "key", "value"),
    [
        (lambda: L.ELU(0.3), "alpha", 0.3),
        (lambda: L.LeakyReLU(0.2), "alpha", 0.2),
        (lambda: L.ThresholdedReLU(0.5), "theta", 0.5),
        (lambda: L.BatchNormalization(epsilon=0.25), "epsilon", 0.25),
        (lambda: L.BatchNormalization(axis=1), "axis", 1),
        (lambda: L.Dense(3), "units", 3),
    ],
)
def test_an_array_of_no_dimensions_is_a_number(
    tmp_path: Path, layer: Callable[[], Any], key: str, value: float
) -> None:
    model = filled(stack((4,), layer(), L.Flatten()))
    path = saved_as(
        tmp_path / "model.h5",
        model,
        config=custom(key, {"type": "ndarray", "value": value}),
    )
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5
    )


@pytest.mark.parametrize("name", ["relu6", "hard_swish", "hard_silu", "swish"])
def test_activations_are_found_by_common_names(tmp_path: Path, name: str) -> None:
    model = filled(stack((4,), L.Dense(3, activation="relu"), L.Dense(2)))
    path = saved_as(tmp_path / "model.h5", model, config=rename_activation(name))
    inputs = rows(model)
    hidden = inputs @ model.get_weights()[0] + model.get_weights()[1]
    gate = np.clip(hidden + 3, 0, 6) / 6
    wanted = {
        "relu6": np.clip(hidden, 0, 6),
        "hard_swish": hidden * gate,
        "hard_silu": hidden * gate,
        "swish": hidden / (1 + np.exp(-hidden)),
    }[name]
    answer = wanted @ model.get_weights()[2] + model.get_weights()[3]

    np.testing.assert_allclose(answers(loaded(path), inputs), answer, rtol=1e-4)


def rename_activation(name: str) -> Callable[[Config], object]:
    def edit(config: Config) -> None:
        for layer in config["config"]["layers"]:
            if layer["config"].get("activation") == "relu":
                layer["config"]["activation"] = name

    return edit


def test_efficientnet_dropout_is_a_dropout(tmp_path: Path) -> None:
    model = filled(stack((4,), L.Dropout(0.5, noise_shape=(None, 1)), L.Dense(2)))

    def rename(config: Config) -> None:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Dropout":
                layer["class_name"] = "FixedDropout"

    path = saved_as(tmp_path / "model.h5", model, config=rename)
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5
    )


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_tf_keras_arrays_are_read_as_numbers(tmp_path: Path, suffix: str) -> None:
    scale = np.arange(1, 3, dtype="float32")
    model = stack((2,), L.Rescaling(scale, offset=np.float32(1)))
    path = tmp_path / f"model{suffix}"
    model.save(path)

    found = answers(loaded(path), np.ones((1, 2), "float32"))
    np.testing.assert_allclose(found, [[2.0, 3.0]])
