"""Models that keep state from call to call: each request starts from fresh state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from inference.errors import InvalidSidecar
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.types import Array

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
]


def stack(kind: Any, shape: tuple[int, ...], *layers: Any) -> Any:
    first = (
        keras.Input(batch_shape=shape, name="x")
        if kind is keras
        else tf_keras.Input(batch_shape=shape, name="x")
    )
    kind.utils.set_random_seed(3)
    return kind.Sequential([first, *layers])


def cells(kind: Any) -> Any:
    inner = [kind.layers.LSTMCell(3), kind.layers.GRUCell(2)]
    return kind.layers.RNN(inner, stateful=True, name="cells")


def nested(kind: Any) -> Any:
    inner = stack(kind, (2, 3, 2), kind.layers.GRU(3, stateful=True))
    return stack(kind, (2, 3, 2), inner, kind.layers.Dense(1))


MODELS: dict[str, Callable[[], Any]] = {
    "lstm_of_keras_2": lambda: stack(
        tf_keras, (2, 3, 2), tf_keras.layers.LSTM(3, stateful=True)
    ),
    "gru_of_keras_3": lambda: stack(
        keras, (2, 3, 2), keras.layers.GRU(3, stateful=True), keras.layers.Dense(1)
    ),
    "two_layers": lambda: stack(
        keras,
        (2, 3, 2),
        keras.layers.LSTM(3, stateful=True, return_sequences=True),
        keras.layers.SimpleRNN(2, stateful=True),
    ),
    "both_ways": lambda: stack(
        tf_keras,
        (2, 3, 2),
        tf_keras.layers.Bidirectional(tf_keras.layers.GRU(2, stateful=True)),
    ),
    "cells": lambda: stack(tf_keras, (2, 3, 2), cells(tf_keras)),
    "convolutions": lambda: stack(
        keras, (1, 2, 4, 4, 1), keras.layers.ConvLSTM2D(2, 2, stateful=True)
    ),
    "nested": lambda: nested(tf_keras),
    "nested_in_keras_3": lambda: nested(keras),
}


def saved(model: Any, folder: Path) -> Path:
    path = folder / ("model.keras" if isinstance(model, keras.Model) else "model.h5")
    model.save(path)
    return path


def compiled(path: Path, folder: Path, sidecar: str = "") -> Servable:
    beside = folder / "model.toml"
    beside.write_text(sidecar)
    return Servable(compile_path(path, folder / "artifact", beside))


def rows(model: Any, seed: int = 0) -> Array:
    shape = tuple(model.inputs[0].shape)
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def only(answers: dict[str, Array]) -> Array:
    return next(value for name, value in answers.items() if "state" not in name)


@pytest.mark.parametrize("name", MODELS)
def test_each_request_starts_from_fresh_state(tmp_path: Path, name: str) -> None:
    model = MODELS[name]()
    path = saved(model, tmp_path)
    first, other = rows(model), rows(model, seed=1)
    wanted = np.asarray(model(first, training=False))

    with compiled(path, tmp_path) as servable:
        for inputs in (first, other, first):
            answers = servable.run("serving_default", {"x": inputs})

    np.testing.assert_allclose(only(answers), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["lstm_of_keras_2", "two_layers", "both_ways"])
def test_client_can_carry_the_state(tmp_path: Path, name: str) -> None:
    model = MODELS[name]()
    path = saved(model, tmp_path)
    steps = [rows(model, seed) for seed in range(3)]
    wanted = [np.asarray(model(each, training=False)) for each in steps]
    state: dict[str, Array] = {}

    with compiled(path, tmp_path, "carry_state = true\n") as servable:
        signature = servable.signatures["serving_default"]
        assert signature.required == ["x"]

        for inputs, answer in zip(steps, wanted, strict=True):
            defaults = {
                name: spec.default
                for name, spec in signature.inputs.items()
                if spec.default is not None
            }
            answers = servable.run("serving_default", defaults | {"x": inputs} | state)
            np.testing.assert_allclose(only(answers), answer, rtol=1e-5, atol=1e-6)
            state = {name: answers[name] for name in defaults}


ROWS = tf.TensorSpec([None, 2], tf.float32, name="x")
PAIR = tf.TensorSpec([2], tf.float32, name="x")


class Counter(tf.Module):  # type: ignore[misc]
    """A module that counts its calls, once before and once after the output."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = tf.Variable(10.0)
        self.seen = tf.Variable([0.0, 0.0])

    @tf.function(input_signature=[ROWS])  # type: ignore[untyped-decorator]
    def count(self, x: Any) -> dict[str, Any]:
        self.calls.assign_add(1.0)
        before = self.calls.read_value()
        self.seen.assign(self.seen + tf.reduce_sum(x, 0))
        self.calls.assign_sub(4.0)
        return {"y": x * before + self.seen, "left": self.calls.read_value()}


def test_reads_see_writes_of_the_same_call(tmp_path: Path) -> None:
    module = Counter()
    tf.saved_model.save(module, tmp_path / "model", signatures=module.count)
    inputs = np.ones((1, 2), "float32")

    with compiled(tmp_path / "model", tmp_path) as servable:
        for _ in range(2):
            answers = servable.run("serving_default", {"x": inputs})

            np.testing.assert_allclose(answers["y"], [[12.0, 12.0]])
            np.testing.assert_allclose(answers["left"], 7.0)


def test_exported_stateful_model_keeps_no_state(tmp_path: Path) -> None:
    model = MODELS["gru_of_keras_3"]()
    inputs = rows(model)
    model.export(tmp_path / "model", verbose=False)
    wanted = np.asarray(MODELS["gru_of_keras_3"]()(inputs, training=False))

    with compiled(tmp_path / "model", tmp_path) as servable:
        name = next(iter(servable.signatures["serving_default"].inputs))
        for _ in range(2):
            answers = servable.run("serving_default", {name: inputs})

            np.testing.assert_allclose(only(answers), wanted, rtol=1e-5, atol=1e-6)


class Sometimes(tf.Module):  # type: ignore[misc]
    """A module that writes in a branch taken only for large inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = tf.Variable(0.0)

    @tf.function(input_signature=[PAIR])  # type: ignore[untyped-decorator]
    def note(self, x: Any) -> Any:
        if tf.reduce_max(x) > 1000.0:
            self.largest.assign(tf.reduce_max(x))

        return x * 2.0


def test_unread_writes_in_a_branch_are_dropped(tmp_path: Path) -> None:
    module = Sometimes()
    tf.saved_model.save(module, tmp_path / "model", signatures=module.note)

    with compiled(tmp_path / "model", tmp_path) as servable:
        answers = servable.run("serving_default", {"x": np.ones(2, "float32")})
        np.testing.assert_allclose(only(answers), [2.0, 2.0])


def test_carry_state_without_state_is_refused(tmp_path: Path) -> None:
    path = saved(stack(keras, (2, 3), keras.layers.Dense(1)), tmp_path)

    with pytest.raises(InvalidSidecar, match="keeps none that could be carried"):
        compiled(path, tmp_path, "carry_state = true\n")
