"""Keras 3 files with training settings, which never matter to serving."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

from inference.formats.keras.gate import admit
from inference.permissions import Permissions
from tests.support.keras3 import answers, read_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Keras' own, when it saves.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


class OwnLoss(keras.losses.Loss):  # type: ignore[misc]
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(y_true - y_pred)


class OwnMetric(keras.metrics.MeanSquaredError):  # type: ignore[misc]
    pass


class OwnOptimizer(keras.optimizers.SGD):  # type: ignore[misc]
    pass


class Twos(keras.initializers.Initializer):  # type: ignore[misc]
    def __call__(self, shape: Any, dtype: Any = None) -> Any:
        return ops.full(shape, 2.0, dtype)

    def get_config(self) -> dict[str, Any]:
        return {}


@keras.saving.register_keras_serializable("tests")
class RegisteredTwos(Twos):
    pass


class Penalty(keras.regularizers.Regularizer):  # type: ignore[misc]
    def __call__(self, x: Any) -> Any:
        return ops.sum(x)

    def get_config(self) -> dict[str, Any]:
        return {}


class Bound(keras.constraints.Constraint):  # type: ignore[misc]
    def __call__(self, w: Any) -> Any:
        return w


def distance(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(y_true - y_pred)


def dense(**options: Any) -> Any:
    first = L.Dense(16, activation="relu", **options)
    return keras.Sequential([keras.Input((8,)), first, L.Dense(4)])


def trained(model: Any, **options: Any) -> Any:
    model.compile(**({"optimizer": OwnOptimizer(0.01), "loss": "mse"} | options))
    rows = np.ones((4, 8), "float32")
    model.fit(rows, np.ones((4, *model.output_shape[1:])), verbose=0)
    return model


def around(inner: Any) -> Any:
    taken = keras.Input((8,))
    return keras.Model(taken, L.Dense(2)(inner(taken)))


def normalized() -> Any:
    norm = L.BatchNormalization(gamma_initializer=Twos(), beta_regularizer=Penalty())
    return keras.Sequential([keras.Input((8,)), L.Dense(3), norm])


COMPILED: dict[str, Callable[[], Any]] = {
    "optimizer": lambda: trained(dense()),
    "loss": lambda: trained(dense(), loss=OwnLoss()),
    "function": lambda: trained(dense(), loss=distance),
    "metric": lambda: trained(dense(), metrics=[OwnMetric(), "mae"]),
    "inside": lambda: around(trained(dense(), loss=OwnLoss(), metrics=[OwnMetric()])),
    "both": lambda: trained(around(trained(dense(), loss=distance)), loss=OwnLoss()),
}
OWN: dict[str, tuple[Callable[[], Any], str]] = {
    "initializer": (lambda: dense(kernel_initializer=Twos()), "initializer 'Twos'"),
    "registered": (
        lambda: dense(bias_initializer=RegisteredTwos()),
        "initializer 'RegisteredTwos'",
    ),
    "regularizer": (
        lambda: dense(kernel_regularizer=Penalty()),
        "regularizer 'Penalty'",
    ),
    "constraint": (lambda: dense(kernel_constraint=Bound()), "constraint 'Bound'"),
    "inside": (
        lambda: around(dense(kernel_initializer=Twos())),
        "initializer 'Twos'",
    ),
    "normalized": (normalized, "regularizer 'Penalty'"),
}


def saved(model: Any, path: Path) -> Path:
    if path.suffix:
        model.save(path)
    else:
        keras.saving.save_model(model, str(path), zipped=False)

    return path


@cache
def compiled(name: str) -> Any:
    return COMPILED[name]()


@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("file", ["m.keras", "m.h5", "folder"])
def test_compile_config_changes_nothing(tmp_path: Path, name: str, file: str) -> None:
    model = compiled(name)
    path = saved(model, tmp_path / file)

    assert admit(path, Permissions()).notes == ()
    np.testing.assert_array_equal(read_answers(path, model), answers(model))


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("file", ["m.keras", "m.h5", "folder"])
def test_custom_training_parts_are_dropped(
    tmp_path: Path, name: str, file: str
) -> None:
    make, said = OWN[name]
    model = make()
    path = saved(model, tmp_path / file)

    notes = admit(path, Permissions()).notes

    assert any(f"The custom {said} of layer" in note for note in notes)
    np.testing.assert_array_equal(read_answers(path, model), answers(model))
