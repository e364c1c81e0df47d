"""Models of today's layers, each with the Keras 1 layers that hold its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tf_keras import layers as L

from tests.support.keras1 import (
    GRU_GATES,
    LSTM_GATES,
    Layer,
    gates,
    recurrent,
    weighted,
)
from tests.support.keras_files import filled
from tests.support.keras_files import stack as unfilled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def stack(shape: Sequence[int | None], *made: Any) -> Any:
    return filled(unfilled(shape, *made))


def shaped(*sizes: int | None) -> dict[str, Any]:
    return {"batch_input_shape": [None, *sizes], "input_dtype": "float32"}


TF = {"dim_ordering": "tf", "border_mode": "valid", "bias": True}
TH = TF | {"dim_ordering": "th"}


def dense(model: Any, position: int = -1, name: str = "out", **config: Any) -> Layer:
    weights = model.layers[position].get_weights()
    return weighted(
        "Dense",
        name,
        weights,
        output_dim=weights[0].shape[1],
        bias=True,
        activation="linear",
        **config,
    )


def convolutions() -> tuple[Any, list[Layer]]:
    model = stack(
        (8, 8, 2),
        L.Conv2D(3, (3, 2), strides=(2, 1), activation="relu"),
        L.ZeroPadding2D(((1, 0), (0, 2))),
        L.MaxPooling2D((2, 2)),
        L.BatchNormalization(epsilon=1e-5),
        L.Conv2D(2, 2, dilation_rate=(1, 2)),
        L.Flatten(),
        L.Dense(2),
    )
    first, norm, second = (model.layers[each].get_weights() for each in (0, 3, 4))
    return model, [
        weighted(
            "Convolution2D", "c", first, nb_filter=3, nb_row=3, nb_col=2,
            subsample=[2, 1], activation="relu", **TF, **shaped(8, 8, 2),
        ),
        Layer(kind="ZeroPadding2D", name="pad", config={"padding": [1, 0, 0, 2]}),
        Layer(
            kind="MaxPooling2D",
            name="pool",
            config={
                "pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid",
                "dim_ordering": "tf",
            },
        ),
        Layer(
            kind="BatchNormalization",
            name="norm",
            config={
                "epsilon": 1e-5, "mode": 0, "axis": -1, "momentum": 0.99,
                "gamma_regularizer": None, "beta_regularizer": None,
            },
            weights=norm,
        ),
        weighted(
            "AtrousConvolution2D", "a", second, nb_filter=2, nb_row=2, nb_col=2,
            subsample=[1, 1], atrous_rate=[1, 2], activation="linear", **TF,
        ),
        Layer(kind="Flatten", name="flat"),
        dense(model),
    ]  # fmt: skip


def one_dimension() -> tuple[Any, list[Layer]]:
    model = stack(
        (8, 2),
        L.Conv1D(3, 3, strides=2),
        L.MaxPooling1D(2, strides=1),
        L.Dropout(0.5),
        L.UpSampling1D(2),
        L.LocallyConnected1D(2, 2),
        L.GlobalMaxPooling1D(),
        L.Dense(2),
    )
    kernel, bias = model.layers[0].get_weights()
    common = {"border_mode": "valid", "bias": True, "activation": "linear"}
    return model, [
        weighted(
            "Convolution1D", "c", [kernel[:, None], bias], nb_filter=3,
            filter_length=3, subsample_length=2, input_dim=2, input_length=8,
            **common, **shaped(8, 2),
        ),
        Layer(
            kind="MaxPooling1D",
            name="pool",
            config={"pool_length": 2, "stride": 1, "border_mode": "valid"},
        ),
        Layer(kind="Dropout", name="drop", config={"p": 0.5}),
        Layer(kind="UpSampling1D", name="up", config={"length": 2}),
        weighted(
            "LocallyConnected1D", "l", model.layers[4].get_weights(), nb_filter=2,
            filter_length=2, subsample_length=1, input_dim=None, input_length=None,
            **common,
        ),
        Layer(kind="GlobalMaxPooling1D", name="gmp"),
        dense(model),
    ]  # fmt: skip


def channels_first_kernels() -> tuple[Any, list[Layer]]:
    """Return the channels-first layers that a CPU can build.

    Another test compares outputs.
    """
    model = stack((5, 5, 2), L.SeparableConv2D(3, 2), L.GlobalAveragePooling2D())
    weights = model.layers[0].get_weights()
    return model, [
        weighted(
            "SeparableConvolution2D", "s", weights, nb_filter=3, nb_row=2, nb_col=2,
            subsample=[1, 1], depth_multiplier=1, activation="linear", **TF,
            **shaped(5, 5, 2),
        ),
        Layer(kind="GlobalAveragePooling2D", name="g", config={"dim_ordering": "tf"}),
    ]  # fmt: skip


def deconvolution() -> tuple[Any, list[Layer]]:
    model = stack((4, 4, 2), L.Conv2DTranspose(3, 3, strides=2))
    kernel, bias = model.layers[0].get_weights()
    return model, [
        weighted(
            "Deconvolution2D", "d", [np.transpose(kernel, (0, 1, 3, 2)), bias],
            nb_filter=3, nb_row=3, nb_col=3, subsample=[2, 2], activation="linear",
            output_shape=[None, 9, 9, 3], **TF, **shaped(4, 4, 2),
        ),
    ]  # fmt: skip


def recurrences() -> tuple[Any, list[Layer]]:
    model = stack(
        (5, 3),
        L.Masking(0.0),
        L.LSTM(4, recurrent_activation="hard_sigmoid", return_sequences=True),
        L.TimeDistributed(L.Dense(3)),
        L.Dense(2),
        L.GRU(
            3,
            recurrent_activation="hard_sigmoid",
            reset_after=False,
            return_sequences=True,
            go_backwards=True,
        ),
        L.Bidirectional(L.LSTM(2, recurrent_activation="hard_sigmoid")),
        L.RepeatVector(2),
        L.SimpleRNN(3),
        L.Dense(2),
    )
    layers = model.layers
    both = layers[5].get_weights()
    inner = recurrent("LSTM", "lstm_b", (), output_dim=2, input_dim=3).json()
    wrapped = weighted("Dense", "inner", (), output_dim=3, activation="linear").json()
    return model, [
        Layer(kind="Masking", name="m", config={"mask_value": 0.0} | shaped(5, 3)),
        recurrent(
            "LSTM", "lstm", gates(layers[1].get_weights(), LSTM_GATES), output_dim=4,
            input_dim=3,
        ),
        Layer(
            kind="TimeDistributed",
            name="td",
            config={"layer": wrapped},
            weights=layers[2].get_weights(),
        ),
        weighted(
            "TimeDistributedDense", "tdd", layers[3].get_weights(), output_dim=2,
            bias=True, activation="linear", input_dim=None, input_length=None,
        ),
        recurrent(
            "GRU", "gru", gates(layers[4].get_weights(), GRU_GATES), output_dim=3,
            input_dim=2,
        ),
        Layer(
            kind="Bidirectional",
            name="bi",
            config={"layer": inner, "merge_mode": "concat"},
            weights=[*gates(both[:3], LSTM_GATES), *gates(both[3:], LSTM_GATES)],
        ),
        Layer(kind="RepeatVector", name="rep", config={"n": 2}),
        without(
            recurrent(
                "SimpleRNN", "rnn", layers[7].get_weights(), output_dim=3, input_dim=4
            ),
            "inner_activation",
        ),
        dense(model),
    ]  # fmt: skip


def without(layer: Layer, key: str) -> Layer:
    del layer.config[key]
    return layer


def fix_sequences(layers: list[Layer]) -> list[Layer]:
    """Let the recurrent layers in the middle return sequences."""
    for layer in layers:
        if layer.name in ("lstm", "gru"):
            layer.config["return_sequences"] = True
        if layer.name == "gru":
            layer.config["go_backwards"] = True

    return layers


CASES: dict[str, Callable[[], tuple[Any, list[Layer]]]] = {
    "convolutions": convolutions,
    "one_dimension": one_dimension,
    "separable": channels_first_kernels,
    "deconvolution": deconvolution,
    "recurrences": recurrences,
}
