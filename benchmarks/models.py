"""The models that are measured, and the artifacts that our compiler makes of them.

What makes a model imports Keras: to be called in a child process.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np

from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.repository.scan import ModelFiles
from inference.types import ModelId

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from inference.types import Array

COMPILE_SECONDS = 900.0
LARGE_UNITS = 5000
SEED = 7


def write_small_dense(path: Path) -> None:
    """32-64-64-1, as Keras `.h5`."""
    _save(_small_dense(), path)


def write_mobilenet(path: Path) -> None:
    """MobileNetV2, 160×160 pixels, 100 classes, weights drawn, as Keras `.h5`."""
    _save(_mobilenet(), path)


def export_mobilenet(path: Path) -> int:
    """The same as a SavedModel; the bytes of its weights."""
    model = _mobilenet()
    model.export(path, verbose=False)
    return sum(int(np.prod(each.shape)) * 4 for each in model.weights)


def write_large_dense(folder: Path, units: int) -> dict[str, Path]:
    """One layer of `units` by `units` floats, in three formats by name."""
    import keras

    keras.utils.set_random_seed(SEED)
    layer = keras.layers.Dense(units, bias_initializer="random_normal")
    model = keras.Sequential([keras.Input((units,), name="values"), layer])
    paths = {
        ".h5": folder / "large.h5",
        ".pb": folder / "large.pb",
        "SavedModel": folder / "large",
    }
    _save(model, paths[".h5"])
    _freeze(model, paths[".pb"])
    model.export(paths["SavedModel"], verbose=False)
    return paths


def write_served(folder: Path) -> dict[str, Path]:
    """The small dense model and MobileNetV2, as `.h5` and `.pb`; by model name."""
    paths = {name: folder / f"{name}.h5" for name in ("dense", "mobilenet")}

    for name, model in (("dense", _small_dense()), ("mobilenet", _mobilenet())):
        paths[f"{name}_frozen"] = folder / f"{name}_frozen.pb"
        _save(model, paths[name])
        _freeze(model, paths[f"{name}_frozen"])

    return paths


def write_pair(folder: Path) -> dict[str, Path]:
    """A small dense `.h5` and a small `.pb` of other weights; paths by model name."""
    paths = {"dense": folder / "dense.h5", "graph": folder / "graph.pb"}
    _save(_small_dense(), paths["dense"])
    _freeze(_small_dense(SEED + 1), paths["graph"])
    return paths


def rows_for(shape: Sequence[int], rows: int, seed: int = SEED) -> Array:
    """Random float32 rows of `shape`; equal arguments give equal rows."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((rows, *shape), dtype=np.float32)


def compile_models(paths: dict[str, Path], cache: Path) -> dict[str, Path]:
    """The folder of each model's artifact, compiled as the server compiles it."""
    return anyio.run(_compile_all, paths, cache)


async def _compile_all(paths: dict[str, Path], cache: Path) -> dict[str, Path]:
    builder = ArtifactBuilder(ArtifactCache(cache), timeout_seconds=COMPILE_SECONDS)
    folders = {}

    for name, path in paths.items():
        files = ModelFiles(id=ModelId("measured", 1), path=path)
        compiled = await builder.build(files, _ignore)
        folders[name] = compiled.artifact.folder

    return folders


def _ignore(stage: str) -> None:
    pass


def _small_dense(seed: int = SEED) -> Any:
    import keras

    keras.utils.set_random_seed(seed)
    # Zero biases, as layers begin with, would be optimised away.
    dense = partial(keras.layers.Dense, bias_initializer="random_normal")
    layers = [dense(64, activation="relu"), dense(64, activation="relu"), dense(1)]
    return keras.Sequential([keras.Input((32,), name="values"), *layers])


def _mobilenet() -> Any:
    import keras

    keras.utils.set_random_seed(SEED)
    model = keras.applications.MobileNetV2(
        input_shape=(160, 160, 3), weights=None, classes=100
    )
    _settle_norms(model)
    return model


def _settle_norms(model: Any) -> None:
    """Give the batch norms the statistics of a batch, as if trained.

    As initialised the signal fades from layer to layer, until all answers are equal.
    """
    import keras

    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]

    for layer in norms:
        layer.momentum = 0.0

    model(rows_for(model.inputs[0].shape[1:], 8, SEED + 1), training=True)

    for layer in norms:
        layer.momentum = 0.999


def _save(model: Any, path: Path) -> None:
    # Keras warns, through this logger, that a newer format is there.
    logging.getLogger("absl").setLevel(logging.ERROR)
    model.save(path)


def _freeze(model: Any, path: Path) -> None:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    spec = tf.TensorSpec([None, *model.inputs[0].shape[1:]], tf.float32, name="values")
    function = tf.function(model).get_concrete_function(spec)
    graph = convert_variables_to_constants_v2(function).graph
    path.write_bytes(graph.as_graph_def().SerializeToString())
