"""Small models of Keras 3, their outputs, and those of their files when read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers as L

from inference.artifacts.artifact import Artifact
from inference.backend import tf
from inference.compiler.compile import compile_model
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array


def flowers(*, middle: int = 64) -> Any:
    """Return a Sequential of which the middle layer's kernel is the largest array."""
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(64, activation="relu"),
            L.BatchNormalization(),
            L.Dense(middle),
            L.Dense(4),
        ]
    )


def words() -> Any:
    """Return a model whose vocabulary is an asset."""
    lookup = L.TextVectorization(output_sequence_length=4)
    lookup.adapt(["a b c", "b d"])
    taken = keras.Input((1,), dtype="string")
    rows = L.Embedding(9, 3)(lookup(taken))
    return keras.Model(taken, L.GlobalAveragePooling1D()(rows))


def samples(model: Any) -> Array:
    """Return two rows for the one input of `model`."""
    (taken,) = model.inputs

    dtype = tf.as_dtype(taken.dtype)

    if dtype == tf.string:
        return np.array([["a b"], ["d c"]], dtype=object)

    shape = (2, *(size or 5 for size in taken.shape[1:]))
    values = np.random.default_rng(0).normal(size=shape)
    small = abs(values * 3) if dtype.is_integer else values
    found: Array = small.astype(dtype.as_numpy_dtype)
    return found


def answers(model: Any) -> Array:
    """Return the model's own outputs for its samples, as float32."""
    given = model(tf.constant(samples(model)), training=False)
    found: Array = tf.cast(given, tf.float32).numpy()
    return found


def read_answers(path: Path, model: Any) -> Array:
    """Return the outputs of the model read from `path` for the samples of `model`."""
    with open_source(path, Sidecar()) as source:
        signature = source.signatures["serving_default"]
        (name,) = signature.inputs
        found = source.reference(signature, {name: samples(model)})

    (value,) = found.values()
    return value.astype("float32")


def served_answers(path: Path, folder: Path, model: Any) -> Array:
    """Return the outputs of the artifact that is compiled of `path`."""
    folder.mkdir()
    artifact = Artifact(folder)
    manifest = compile_model(path, None, folder, lambda _: None)
    artifact.write_manifest(manifest)

    with Servable(artifact) as servable:
        (name,) = servable.signatures["serving_default"].inputs
        found = servable.run("serving_default", {name: samples(model)})

    (value,) = found.values()
    return np.asarray(value).astype("float32")
