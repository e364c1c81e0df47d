"""Nested models of Keras 1 and 2, whose files keep all their weights in one list.

The orders here are those that Keras 1.2.2 wrote, run on the arrays of today's layers.
"""

from __future__ import annotations

from functools import cache
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
from tests.support.keras1 import (
    GRU_GATES,
    LSTM_GATES,
    Layer,
    gates,
    recurrent,
    weighted,
    write,
)
from tests.support.keras1_models import TH, dense, shaped, stack
from tests.support.keras_files import answers, filled, loaded, rows, saved_as

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from inference.types import Array

Config = dict[str, Any]

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")

HARD = {"recurrent_activation": "hard_sigmoid"}


def lstm(**config: Any) -> Any:
    return L.LSTM(2, return_sequences=True, **HARD, **config)


def lstm_of_keras1(name: str = "l", **config: Any) -> Layer:
    config = {"output_dim": 2, "return_sequences": True} | config
    return recurrent("LSTM", name, (), **config)


def norm_of_keras1(**config: Any) -> Layer:
    config = {"mode": 0, "epsilon": 1e-3} | config
    return Layer(kind="BatchNormalization", name="n", config=config)


def arrays(model: Any) -> list[list[Array]]:
    return [layer.get_weights() for layer in model.layers]


def nested(*inner: Layer) -> Config:
    return {"class_name": "Sequential", "config": [each.json() for each in inner]}


@cache
def half_frozen() -> tuple[Any, Any]:
    """Return a model, and the one in it of which a layer is frozen."""
    inner = tf_keras.Sequential(
        [
            L.Input((4, 3)),
            lstm(trainable=False),
            L.BatchNormalization(),
            L.GRU(2, reset_after=False, **HARD),
        ]
    )
    return stack((4, 3), inner, L.Dense(2)), inner


def frozen(consume_less: str) -> tuple[Any, Config, list[Array]]:
    """Return the weights with the non-trainable ones last, gates included."""
    model, inner = half_frozen()
    first, norm, last = arrays(inner)
    less = {"consume_less": consume_less}
    config = nested(
        lstm_of_keras1(trainable=False, **less, **shaped(4, 3)),
        norm_of_keras1(),
        recurrent("GRU", "g", (), output_dim=2, **less),
    )

    if consume_less == "gpu":
        return model, config, [*norm[:2], *last, *first, *norm[2:]]

    cut = gates(last, GRU_GATES), gates(first, LSTM_GATES)
    return model, config, [*norm[:2], *cut[0], *cut[1], *norm[2:]]


@cache
def deep() -> tuple[Any, Config, list[Array]]:
    """Return a model in a model in a model, and a bidirectional wrapper."""
    core = tf_keras.Sequential([L.Input((4, 3)), lstm(), L.BatchNormalization()])
    both = L.Bidirectional(L.LSTM(2, **HARD))
    inner = tf_keras.Sequential([L.Input((4, 3)), core, L.BatchNormalization(), both])
    model = stack((4, 3), inner, L.Dense(2))
    first, norm = arrays(core)
    _, other, ways = arrays(inner)
    wrapped = recurrent("LSTM", "b", (), output_dim=2).json()
    config = {
        "class_name": "Sequential",
        "config": [
            nested(lstm_of_keras1(**shaped(4, 3)), norm_of_keras1()),
            norm_of_keras1(name="m").json(),
            {
                "class_name": "Bidirectional",
                "config": {"name": "bi", "layer": wrapped, "merge_mode": "concat"},
            },
        ],
    }
    cut = [*gates(ways[:3], LSTM_GATES), *gates(ways[3:], LSTM_GATES)]
    stored = [*gates(first, LSTM_GATES), *norm[:2], *other[:2], *cut]
    return model, config, [*stored, *norm[2:], *other[2:]]


def each_step() -> tuple[Any, Config, list[Array]]:
    """Return a model that a wrapper calls for each step."""
    inner = tf_keras.Sequential([L.Input((4, 3)), L.BatchNormalization(), lstm()])
    model = stack((2, 4, 3), L.TimeDistributed(inner), L.Flatten(), L.Dense(2))
    norm, last = arrays(inner)
    layer = nested(norm_of_keras1(**shaped(4, 3)), lstm_of_keras1())
    config = {
        "class_name": "TimeDistributed",
        "config": {"name": "td", "layer": layer, **shaped(2, 4, 3)},
    }
    return model, config, [*norm[:2], *gates(last, LSTM_GATES), *norm[2:]]


NESTED: dict[str, Callable[[], tuple[Any, Config, list[Array]]]] = {
    "frozen": lambda: frozen("cpu"),
    "frozen_and_joined": lambda: frozen("gpu"),
    "deep": deep,
    "each_step": each_step,
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_layers_get_their_own_weights(tmp_path: Path, name: str) -> None:
    model, inner, stored = NESTED[name]()
    flat = [{"class_name": "Flatten", "config": {"name": "f"}}]
    middle = flat if name == "each_step" else []
    config = {
        "class_name": "Sequential",
        "config": [inner, *middle, dense(model).json()],
    }
    holder = Layer(kind="Sequential", name="inner", weights=stored)
    path = write(tmp_path / "model.h5", [holder, dense(model)], config)
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5, atol=1e-6
    )


def weights_missing(
    tmp_path: Path, change: Callable[[list[Array]], list[Array]]
) -> str:
    model, inner, stored = deep()
    config = {"class_name": "Sequential", "config": [inner, dense(model).json()]}
    holder = Layer(kind="Sequential", name="inner", weights=change(stored))
    path = write(tmp_path / "model.h5", [holder, dense(model)], config)

    with pytest.raises(InvalidModel) as caught:
        loaded(path)

    return str(caught.value)


def test_nested_model_with_other_weights_is_refused(tmp_path: Path) -> None:
    assert "model.h5" in weights_missing(tmp_path, lambda stored: stored[:-1])
    assert "1 weights fewer" in weights_missing(
        tmp_path, lambda stored: [*stored, stored[-1]]
    )


@pytest.mark.parametrize("version", ["2.0.8", "2.2.2"])
def test_unnamed_sequential_keeps_its_place(tmp_path: Path, version: str) -> None:
    """Keras before 2.2.3 wrote a Sequential as the list of its layers."""
    left, right = (
        tf_keras.Sequential([L.Input((3,)), L.Dense(3)], name=f"sequential_{number}")
        for number in (2, 1)
    )
    x = L.Input((3,))
    model = filled(tf_keras.Model(x, L.Dense(2)(right(L.Activation("relu")(left(x))))))
    path = saved_as(tmp_path / "model.h5", model, version=version, config=as_lists)
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5
    )


def test_unnamed_sequentials_are_told_apart_by_order(tmp_path: Path) -> None:
    parts = [
        tf_keras.Sequential([L.Input((3,)), L.Dense(3)], name=f"sequential_{number}")
        for number in (2, 1)
    ]
    model = filled(stack((3,), *parts, L.Dense(2)))
    path = saved_as(tmp_path / "model.h5", model, version="2.1.6", config=as_lists)
    inputs = rows(model)

    np.testing.assert_allclose(
        answers(loaded(path), inputs), answers(model, inputs), rtol=1e-5
    )


def as_lists(config: Config) -> None:
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Sequential":
            named = layer["config"]["layers"]
            shape = named[0]["config"]["batch_input_shape"]
            layer["config"] = named[1:]
            layer["config"][0]["config"]["batch_input_shape"] = shape


def test_theano_gates_are_flipped_before_joining(
    tmp_path: Path,
) -> None:
    model = filled(stack((3, 5, 5, 2), L.ConvLSTM2D(2, 3, padding="same", **HARD)))
    wanted = model.get_weights()
    last = [
        np.transpose(each, (3, 2, 0, 1)) if each.ndim == 4 else each
        for each in gates(wanted, LSTM_GATES)
    ]
    layer = recurrent(
        "ConvLSTM2D", "c", last, nb_filter=2, nb_row=3, nb_col=3, subsample=[1, 1],
        **TH | {"border_mode": "same"}, **shaped(3, 2, 5, 5),
    )  # fmt: skip
    path = write(tmp_path / "model.h5", [layer])
    sidecar = Sidecar.model_validate({"backend": "tensorflow"})
    found = load_model(tf_keras, admit(path, Permissions(), sidecar)).get_weights()

    for given, value in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(given, value)


def test_negative_axes_in_a_list_are_refused(tmp_path: Path) -> None:
    merge = {"mode": "dot", "mode_type": "raw", "dot_axes": [-1, -1]}
    layers = [
        weighted("Dense", "d", (), output_dim=2, **shaped(3)),
        Layer(kind="Merge", name="m", config=merge),
    ]

    with pytest.raises(InvalidModel, match=r"'m' is a Merge by dot over the axes \[-1"):
        admit(write(tmp_path / "model.h5", layers), Permissions())


def changed(place: Sequence[str | int], value: Any) -> Config:
    """Change one value in a Sequential whose two branches are merged."""
    shape = shaped(3)
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["x", 0, 0]]}
    layers = [{"class_name": "InputLayer", "config": {"name": "x", **shape}}]
    model = {"class_name": "Model", "config": {"name": "m", "layers": layers, **ends}}
    branch = nested(weighted("Dense", "d", (), output_dim=2, **shape))
    merge = {"name": "merge_1", "mode": "sum", "layers": [model, branch]}
    last = weighted("Dense", "e", (), output_dim=2).json()
    config: Config = {
        "class_name": "Sequential",
        "config": [{"class_name": "Merge", "config": merge}, last],
    }
    inner: Any = config

    for step in place[:-1]:
        inner = inner[step]

    inner[place[-1]] = value
    return config


BRANCHES = ("config", 0, "config", "layers")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("config", 0, "config", "mode"), ["a"]),
        (("config", 0, "class_name"), {}),
        ((*BRANCHES, 0, "config", "input_layers", 0), 2.5),
        ((*BRANCHES, 0, "config", "input_layers", 0), []),
        ((*BRANCHES, 0, "config", "output_layers", 0), 0),
        ((*BRANCHES, 0, "config", "layers"), [None]),
        ((*BRANCHES, 0, "config", "layers"), ["a"]),
    ],
)
def test_invalid_architecture_is_refused(
    tmp_path: Path, place: Sequence[str | int], value: Any
) -> None:
    path = write(tmp_path / "model.h5", [], changed(place, value))

    with pytest.raises(InvalidModel, match=r"^model\.h5"):
        admit(path, Permissions())
