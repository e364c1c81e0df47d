"""Files of Keras 2 made of today's models, and their outputs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import tf_keras
from tf_keras import layers as L

from inference.formats.keras.gate import admit
from inference.formats.keras.loading import load_model
from inference.permissions import Permissions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from inference.types import Array

Config = dict[str, Any]


def filled(model: Any, seed: int = 1) -> Any:
    generator = np.random.default_rng(seed)
    model.set_weights(
        [
            np.abs(generator.normal(scale=0.5, size=each.shape)).astype("float32")
            for each in model.get_weights()
        ]
    )
    return model


def rows(model: Any) -> Array:
    shape = [size or 6 for size in model.inputs[0].shape[1:]]
    generator = np.random.default_rng(0)
    return generator.normal(size=(2, *shape)).astype("float32")


def answers(model: Any, inputs: Array) -> Array:
    found: Array = np.asarray(model(inputs, training=False))
    return found


def loaded(path: Path) -> Any:
    return load_model(tf_keras, admit(path, Permissions()))


def saved_as(
    path: Path,
    model: Any,
    *,
    version: str = "2.2.4",
    backend: str = "tensorflow",
    weights: Callable[[str, Array], Array] | None = None,
    config: Callable[[Config], object] | None = None,
) -> Path:
    """Save `model`, then make the file what an older Keras would have written."""
    model.save(path, save_format="h5")

    with h5py.File(path, "a") as file:
        written = json.loads(file.attrs["model_config"])

        if config is not None:
            config(written)

        file.attrs["model_config"] = json.dumps(written)

        for group in (file, file["model_weights"]):
            group.attrs["keras_version"] = version
            group.attrs["backend"] = backend

        if weights is not None:
            _edit(file["model_weights"], weights)

    return path


def _edit(group: Any, edit: Callable[[str, Array], Array]) -> None:
    names: list[str] = []
    group.visititems(
        lambda name, found: (
            names.append(name) if isinstance(found, h5py.Dataset) else None
        )
    )

    for name in names:
        value = edit(name, group[name][()])
        del group[name]
        group[name] = value


def stack(shape: Sequence[int | None], *made: Any) -> Any:
    return tf_keras.Sequential([L.Input(tuple(shape)), *made])
