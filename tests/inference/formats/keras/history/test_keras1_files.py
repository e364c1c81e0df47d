"""Whole models of Keras 1, against the same weights in today's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tf_keras
from tf_keras import layers as L

from inference.errors import InvalidModel
from inference.formats.keras.gate import admit
from inference.formats.keras.history.keras1 import (
    LAYER_RULES,
    MERGES,
    REMOVED,
    UNCHANGED,
)
from inference.formats.keras.loading import load_model
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar
from tests.support.keras1 import (
    GRU_GATES,
    LSTM_GATES,
    Layer,
    gates,
    recurrent,
    weighted,
    write,
)
from tests.support.keras1_models import (
    CASES,
    TH,
    deconvolution,
    dense,
    fix_sequences,
    shaped,
    stack,
)
from tests.support.keras_files import filled, loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from inference.types import Array

ALL_LAYERS = """
    Activation ActivityRegularization AtrousConvolution1D AtrousConvolution2D
    AveragePooling1D AveragePooling2D AveragePooling3D BatchNormalization
    Bidirectional ConvLSTM2D Convolution1D Convolution2D Convolution3D Cropping1D
    Cropping2D Cropping3D Deconvolution2D Dense Dropout ELU Embedding Flatten GRU
    GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    Highway InputLayer LSTM Lambda LeakyReLU LocallyConnected1D LocallyConnected2D
    Masking MaxPooling1D MaxPooling2D MaxPooling3D MaxoutDense Merge PReLU
    ParametricSoftplus Permute RepeatVector Reshape SReLU SeparableConvolution2D
    SimpleRNN SpatialDropout1D SpatialDropout2D SpatialDropout3D ThresholdedReLU
    TimeDistributed TimeDistributedDense UpSampling1D UpSampling2D UpSampling3D
    ZeroPadding1D ZeroPadding2D ZeroPadding3D
""".split()
"""Every layer of Keras 1.2.2's `keras/layers/*.py`."""


def test_every_keras_1_layer_is_handled() -> None:
    refused = {"Lambda"} | REMOVED
    models = {"Model", "Sequential"}
    decided = LAYER_RULES.keys() | (UNCHANGED - models) | {"Merge"} | refused

    assert decided == set(ALL_LAYERS)


def assert_same(path: Path, model: Any, *inputs: Array) -> None:
    given = inputs or (rows(model.inputs[0].shape),)
    found = loaded(path)(list(given) if len(given) > 1 else given[0], training=False)
    wanted = model(list(given) if len(given) > 1 else given[0], training=False)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def rows(shape: Any) -> Array:
    generator = np.random.default_rng(0)
    sizes = [size or 5 for size in shape[1:]]
    return generator.normal(size=(2, *sizes)).astype("float32")


@pytest.mark.parametrize("name", CASES)
def test_sequential_matches_its_weights(tmp_path: Path, name: str) -> None:
    model, layers = CASES[name]()

    assert_same(write(tmp_path / "model.h5", fix_sequences(layers)), model)


def test_theano_kernels_are_flipped_and_transposed(tmp_path: Path) -> None:
    """Compares weights: channels first needs a rewritten graph to run on a CPU."""
    first = (
        np.random.default_rng(0).normal(size=(3, 2, 4, 4)).astype("float32"),
        np.zeros(3, "float32"),
    )
    layer = weighted(
        "Convolution2D", "c", first, nb_filter=3, nb_row=4, nb_col=4,
        subsample=[1, 1], activation="linear", **TH, **shaped(2, 6, 6),
    )  # fmt: skip
    path = write(tmp_path / "model.h5", [layer])

    with pytest.raises(InvalidModel, match=r"layer 'c' convolves with channels first"):
        admit(path, Permissions())

    for backend, kernel in (
        ("tensorflow", np.transpose(first[0], (2, 3, 1, 0))),
        ("theano", np.transpose(first[0], (2, 3, 1, 0))[::-1, ::-1]),
    ):
        sidecar = Sidecar.model_validate({"backend": backend})
        model = load_model(tf_keras, admit(path, Permissions(), sidecar))
        np.testing.assert_array_equal(model.get_weights()[0], kernel)


def branches() -> tuple[Any, list[Layer], Any]:
    left, right = L.Input((3,)), L.Input((4,))
    parts = [L.Dense(2)(left), L.Dense(2, activation="relu")(right)]
    model = filled(tf_keras.Model([left, right], L.Dense(2)(L.Concatenate()(parts))))
    made = [layer for layer in model.layers if layer.get_weights()]
    first, second, last = (layer.get_weights() for layer in made)
    layers = [
        weighted("Dense", "a", first, output_dim=2, activation="linear", **shaped(3)),
        weighted("Dense", "b", second, output_dim=2, activation="relu", **shaped(4)),
        weighted("Dense", "out", last, output_dim=2, activation="linear"),
    ]
    merge = {
        "class_name": "Merge",
        "config": {
            "name": "merge_1", "mode": "concat", "mode_type": "raw", "concat_axis": -1,
            "dot_axes": -1, "output_shape": None, "output_mask": None, "arguments": {},
            "layers": [
                {"class_name": "Sequential", "config": [layer.json()]}
                for layer in layers[:2]
            ],
        },
    }  # fmt: skip
    config = {"class_name": "Sequential", "config": [merge, layers[2].json()]}
    return model, layers, config


def test_leading_branches_of_a_sequential_are_joined(tmp_path: Path) -> None:
    model, layers, config = branches()
    path = write(tmp_path / "model.h5", layers, config)

    assert_same(path, model, rows((None, 3)), rows((None, 4)))


def functional(merge: dict[str, Any], layers: Sequence[Layer]) -> dict[str, Any]:
    """Return two Dense layers on one input, merged, as `Model.get_config` wrote it."""
    node: dict[str, list[list[list[Any]]]] = {
        "x": [],
        "a": [[["x", 0, 0]]],
        "b": [[["x", 0, 0]]],
        "m": [[["a", 0, 0], ["b", 0, 0]]],
    }
    found = [
        {"class_name": "InputLayer", "config": {"name": "x", **shaped(3)}},
        *(layer.json() for layer in layers),
        {"class_name": "Merge", "config": {"name": "m", "mode_type": "raw"} | merge},
    ]
    named = [
        each | {"name": each["config"]["name"], "inbound_nodes": nodes}
        for each, nodes in zip(found, node.values(), strict=True)
    ]
    config = {"name": "model_1", "layers": named}
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["m", 0, 0]]}
    return {"class_name": "Model", "config": config | ends}


MERGED: dict[str, Callable[[Array, Array], Array]] = {
    "sum": lambda a, b: a + b,
    "mul": lambda a, b: a * b,
    "ave": lambda a, b: (a + b) / 2,
    "max": np.maximum,
    "concat": lambda a, b: np.concatenate([a, b], axis=-1),
    "dot": lambda a, b: (a * b).sum(axis=-1, keepdims=True),
}


@pytest.mark.parametrize("mode", MERGES)
def test_a_merge_in_a_model_computes_its_mode(tmp_path: Path, mode: str) -> None:
    generator = np.random.default_rng(0)
    kernels = [generator.normal(size=(3, 2)).astype("float32") for _ in range(2)]
    layers = [
        weighted("Dense", name, [kernel], output_dim=2, bias=False, activation="linear")
        for name, kernel in zip("ab", kernels, strict=True)
    ]
    config = functional({"mode": mode, "concat_axis": -1, "dot_axes": -1}, layers)
    model = loaded(write(tmp_path / "model.h5", layers, config))
    inputs = rows((None, 3))

    wanted = MERGED[mode](inputs @ kernels[0], inputs @ kernels[1])
    np.testing.assert_allclose(model(inputs), wanted, rtol=1e-5, atol=1e-6)


def test_nested_model_takes_its_weights(tmp_path: Path) -> None:
    inner = tf_keras.Sequential(
        [
            L.Input((4, 3)),
            L.LSTM(2, recurrent_activation="hard_sigmoid", return_sequences=True),
            L.BatchNormalization(),
            L.GRU(2, recurrent_activation="hard_sigmoid", reset_after=False),
        ]
    )
    model = stack((4, 3), inner, L.Dense(2))
    lstm, norm, gru = (layer.get_weights() for layer in inner.layers)
    layers = [
        recurrent("LSTM", "l", (), output_dim=2, return_sequences=True, **shaped(4, 3)),
        Layer(kind="BatchNormalization", name="n", config={"mode": 0, "epsilon": 1e-3}),
        recurrent("GRU", "g", (), output_dim=2),
    ]
    stored = [*gates(lstm, LSTM_GATES), *norm[:2], *gates(gru, GRU_GATES), *norm[2:]]
    config = {
        "class_name": "Sequential",
        "config": [
            {"class_name": "Sequential", "config": [each.json() for each in layers]},
            dense(model).json(),
        ],
    }
    holder = Layer(kind="Sequential", name="sequential_1", weights=stored)
    path = write(tmp_path / "model.h5", [holder, dense(model)], config)

    assert_same(path, model)


@pytest.mark.parametrize("kind", sorted(REMOVED))
def test_removed_layer_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "model.h5", [weighted(kind, "old", (), output_dim=2)])

    with pytest.raises(InvalidModel, match=f"layer 'old' is a {kind}, which Keras 2"):
        admit(path, Permissions())


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [
        ("BatchNormalization", {"mode": 2}, "BatchNormalization of mode 2"),
        ("Merge", {"mode": "cos"}, "a Merge of the mode 'cos'"),
        ("Merge", {"mode": "f", "mode_type": "lambda"}, "a Merge of the mode 'f'"),
        ("Lambda", {"function": "x"}, "'old' is a Lambda: it holds Python code"),
    ],
)
def test_unsupported_layer_is_refused_by_name(
    tmp_path: Path, kind: str, config: dict[str, Any], reason: str
) -> None:
    layer = Layer(kind=kind, name="old", config=config)

    with pytest.raises(InvalidModel, match=reason):
        admit(write(tmp_path / "model.h5", [layer]), Permissions())


def test_output_size_against_the_strides_is_refused(tmp_path: Path) -> None:
    _, layers = deconvolution()
    layers[0].config["output_shape"] = [None, 10, 10, 3]
    path = write(tmp_path / "model.h5", layers)

    with pytest.raises(InvalidModel, match=r"output_shape \(10, 10, 3\), but"):
        loaded(path)
