"""Padding of Theano against TensorFlow's, by the outputs of Keras 2.2.4.

The rows were run with Keras 2.2.4's own `theano_backend.py` over aesara 2.9.3, and its
predictions compared with TensorFlow's: equal to 1.2e-6, or off by 1.7 and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tf_keras import layers as L

from inference.errors import InvalidModel
from tests.support.keras_files import loaded, saved_as, stack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5")

ALIKE: dict[str, Callable[[], Any]] = {
    "odd": lambda: stack((7, 7, 2), L.Conv2D(3, 3, padding="same")),
    "strides that fit": lambda: stack(
        (7, 7, 2), L.Conv2D(3, 3, strides=2, padding="same")
    ),
    "valid": lambda: stack((6, 6, 2), L.Conv2D(3, 2), L.MaxPooling2D(2)),
    "pool": lambda: stack((7, 7, 2), L.AveragePooling2D(3, 2, padding="same")),
    "convlstm": lambda: stack((3, 5, 5, 2), L.ConvLSTM2D(2, 3, padding="same")),
    "open": lambda: stack((None, None, 2), L.Conv2D(3, 3, padding="same")),
}

OTHERS: dict[str, Callable[[], Any]] = {
    "even": lambda: stack((6, 6, 2), L.Conv2D(3, 2, padding="same")),
    "strides that don't fit": lambda: stack(
        (6, 6, 2), L.Conv2D(3, 3, strides=2, padding="same")
    ),
    "transposed": lambda: stack(
        (4, 4, 2), L.Conv2DTranspose(3, 3, strides=2, padding="same")
    ),
    "pool of two": lambda: stack((7, 7, 2), L.MaxPooling2D(2, padding="same")),
    "pool of three": lambda: stack((6, 6, 2), L.MaxPooling2D(3, 2, padding="same")),
}
"""Answered otherwise by Theano."""

UNSURE: dict[str, Callable[[], Any]] = {
    "open": lambda: stack((None, 2), L.Conv1D(3, 3, strides=2, padding="same")),
    "wrapped": lambda: stack(
        (2, 6, 6, 2), L.TimeDistributed(L.Conv2D(3, 2, padding="same"))
    ),
    "state": lambda: stack((3, 5, 5, 2), L.ConvLSTM2D(2, 2)),
}
"""Told by the rule alone: no length, or one that is out of sight."""


def of_theano(folder: Path, model: Any) -> Path:
    return saved_as(folder / "model.h5", model, backend="theano")


@pytest.mark.parametrize("name", ALIKE)
def test_layers_with_equal_theano_padding_are_read(tmp_path: Path, name: str) -> None:
    loaded(of_theano(tmp_path, ALIKE[name]()))


@pytest.mark.parametrize("make", [*OTHERS.values(), *UNSURE.values()])
def test_layers_with_other_theano_padding_are_refused(
    tmp_path: Path, make: Callable[[], Any]
) -> None:
    with pytest.raises(InvalidModel, match=r"pads as 'same' with a window of .*Theano"):
        loaded(of_theano(tmp_path, make()))


@pytest.mark.parametrize("name", OTHERS)
def test_other_backends_pad_as_tensorflow_does(tmp_path: Path, name: str) -> None:
    loaded(saved_as(tmp_path / "model.h5", OTHERS[name](), backend="cntk"))
