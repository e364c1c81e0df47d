"""The models that are measured, and our compiled artifacts of them.

Functions that import Keras or TensorFlow are to be called in a child process.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import numpy as np

from benchmarks.harness.exchanges import predict_path, predictions, rounded
from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.repository.scan import ModelFiles
from inference.types import ModelId

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange
    from inference.types import Array

COMPILE_SECONDS = 900.0
SEED = 7
WIDE_INPUTS = 4
BACKBONE, SQUARE = 2000, 512
"""Width of the backbone that two versions share, 16 MB, and of the matrix that four
signatures read, 1 MiB."""


class Wide(NamedTuple):
    """A model of any size whose answers NumPy computes: four numbers in, two layers of
    so many units, one number out."""

    units: int
    seed: int

    @property
    def bytes(self) -> int:
        """Return the size of the widest layer, which is nearly all."""
        return self.units * self.units * 4

    def write_graph(self, path: Path) -> None:
        """Write a frozen `.pb`."""
        from tensorflow.compat.v1 import Graph, constant, identity, matmul, placeholder

        with Graph().as_default() as graph:
            layer = placeholder("float32", [None, WIDE_INPUTS], name="values")

            for kernel in self._kernels():
                layer = matmul(layer, constant(kernel))

            identity(layer, name="answer")
            path.write_bytes(graph.as_graph_def().SerializeToString())

    def write_keras(self, path: Path) -> None:
        """Write the same as `.h5`."""
        import keras

        kernels = self._kernels()
        layers: list[Any] = [keras.Input((WIDE_INPUTS,), name="values")]
        layers += [
            keras.layers.Dense(each.shape[1], use_bias=False) for each in kernels
        ]
        model = keras.Sequential(layers)
        model.set_weights(kernels)
        save(model, path)

    def answers(self) -> Array:
        """Return the answers to `wide_rows`, as a column."""
        answers = wide_rows()

        for kernel in self._kernels():
            answers = answers @ kernel

        return answers

    def exchanges(self, name: str) -> list[Exchange]:
        """Make a request for each of `wide_rows` to the model `name`."""
        return predictions(wide_rows(), self.answers(), predict_path(name))

    def _kernels(self) -> list[Array]:
        # Scaled so that the numbers stay near 1.
        generator = np.random.default_rng(self.seed)
        sizes = (WIDE_INPUTS, self.units, self.units, 1)
        return [
            generator.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5)
            for shape in pairwise(sizes)
        ]


def wide_rows() -> Array:
    """Return the rows that every wide model is asked with."""
    return rounded(rows_for((WIDE_INPUTS,), 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """Model files, the bytes of their distinct weights, and each weight's uses."""

    paths: dict[str, Path]
    distinct: int
    times: int


def write_dense(path: Path, seed: int = SEED) -> None:
    """Write 32-64-64-1 as `.h5`."""
    save(_dense(seed), path)


def write_mobilenet(path: Path) -> None:
    """Write MobileNetV2, 160×160 pixels, 100 classes, random weights, as `.h5`."""
    save(_mobilenet(), path)


def export_mobilenet(path: Path) -> int:
    """Write the same as a SavedModel; return the bytes of its weights."""
    model = _mobilenet()
    model.export(path, verbose=False)
    return weights_bytes(model)


def write_large(folder: Path, units: int) -> dict[str, Path]:
    """Write one layer of `units` by `units` floats, in three formats by name."""
    import keras

    keras.utils.set_random_seed(SEED)
    layer = keras.layers.Dense(units, bias_initializer="random_normal")
    model = keras.Sequential([keras.Input((units,), name="values"), layer])
    paths = {
        ".h5": folder / "large.h5",
        ".pb": folder / "large.pb",
        "SavedModel": folder / "large",
    }
    save(model, paths[".h5"])
    _freeze(model, paths[".pb"])
    model.export(paths["SavedModel"], verbose=False)
    return paths


def write_served(folder: Path) -> dict[str, Path]:
    """Write the dense model and MobileNetV2, as `.h5` and `.pb`; paths by name."""
    paths = {name: folder / f"{name}.h5" for name in ("dense", "mobilenet")}

    for name, model in (("dense", _dense()), ("mobilenet", _mobilenet())):
        paths[f"{name}_frozen"] = folder / f"{name}_frozen.pb"
        save(model, paths[name])
        _freeze(model, paths[f"{name}_frozen"])

    return paths


def write_pair(folder: Path) -> dict[str, Path]:
    """Write a dense `.h5` and a `.pb` of other weights; paths by name."""
    paths = {"dense": folder / "dense.h5", "graph": folder / "graph.pb"}
    save(_dense(), paths["dense"])
    _freeze(_dense(SEED + 1), paths["graph"])
    return paths


def write_repeated(folder: Path) -> dict[str, Repeated]:
    """Write models whose weights repeat, by description."""
    exported = export_mobilenet(folder / "exported")
    return {
        "MobileNetV2, as Keras 3 exports it": Repeated(
            paths={"exported": folder / "exported"}, distinct=exported, times=2
        ),
        "four signatures over 1 MiB": Repeated(
            paths={"four": _write_signatures(folder / "four")},
            distinct=SQUARE * SQUARE * 4,
            times=4,
        ),
        "two versions of one backbone": _write_versions(folder),
    }


def rows_for(shape: Sequence[int], rows: int, seed: int = SEED) -> Array:
    """Return random float32 rows of `shape`; equal arguments give equal rows."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((rows, *shape), dtype=np.float32)


def answer_keras(path: Path, rows: Array) -> Array:
    """Ask a `.h5` in Keras."""
    import keras

    answers: Array = keras.models.load_model(path, compile=False)(rows).numpy()
    return answers


def answer_graph(path: Path, rows: Array) -> Array:
    """Ask a frozen graph in a session."""
    answers: Array = graph_session(path).run("Identity:0", {"values:0": rows})
    return answers


def graph_session(path: Path) -> Any:
    """Import a frozen graph into a new session."""
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())

    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")

    return tf.compat.v1.Session(graph=graph)


@cache
def servable(folder: Path, threads: int) -> Any:
    """Open our runtime over the artifact in `folder`, once in this process."""
    from inference.artifacts.artifact import Artifact
    from inference.runtime.servable import Servable, Threads

    return Servable(Artifact(folder), threads=Threads(intra_op=threads))


def servable_call(folder: Path, threads: int, rows: int) -> Callable[[], Array]:
    """Return a call of the runtime's default signature with `rows` rows."""
    opened = servable(folder, threads)
    signature = opened.signatures[opened.manifest.default_signature]
    [(name, spec)] = signature.inputs.items()
    [output] = signature.outputs
    inputs = {name: rows_for(spec.shape[1:], rows)}

    def call() -> Array:
        answer: Array = opened.run(signature.name, inputs)[output]
        return answer

    return call


def weights_bytes(model: Any) -> int:
    return sum(int(np.prod(each.shape)) * 4 for each in model.weights)


def compile_models(paths: dict[str, Path], cache: Path) -> dict[str, Path]:
    """Compile models as the server does; return each one's artifact folder."""
    return anyio.run(_compile_all, paths, cache)


async def _compile_all(paths: dict[str, Path], cache: Path) -> dict[str, Path]:
    builder = ArtifactBuilder(ArtifactCache(cache), timeout_seconds=COMPILE_SECONDS)
    folders = {}

    for name, path in paths.items():
        files = ModelFiles(id=ModelId("measured", 1), path=path)
        compiled = await builder.build(files, lambda stage: None)
        folders[name] = compiled.artifact.folder

    return folders


def save(model: Any, path: Path) -> None:
    # Keras warns, through this logger, that a newer format is there.
    logging.getLogger("absl").setLevel(logging.ERROR)
    model.save(path)


def _dense(seed: int = SEED) -> Any:
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
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]

    # The batch norms get the statistics of a batch, as if trained: as initialised the
    # signal fades from layer to layer, until all answers are equal.
    for layer in norms:
        layer.momentum = 0.0

    model(rows_for(model.inputs[0].shape[1:], 8, SEED + 1), training=True)

    for layer in norms:
        layer.momentum = 0.999

    return model


def _write_signatures(path: Path) -> Path:
    import tensorflow as tf

    module: Any = tf.Module()
    module.matrix = tf.Variable(rows_for((SQUARE,), SQUARE))
    spec = tf.TensorSpec([None, SQUARE], tf.float32, name="values")
    module.functions = [
        tf.function(lambda x, n=number: {"y": x @ module.matrix + n})
        for number in range(4)
    ]
    names = ("serving_default", "one", "two", "three")
    signatures = {
        name: function.get_concrete_function(spec)
        for name, function in zip(names, module.functions, strict=True)
    }
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def _write_versions(folder: Path) -> Repeated:
    import keras

    keras.utils.set_random_seed(SEED)
    backbone = keras.layers.Dense(BACKBONE, activation="relu")
    paths, distinct = {}, 0

    for number in range(2):
        given = keras.Input((BACKBONE,), name="values")
        model = keras.Model(given, keras.layers.Dense(4)(backbone(given)))
        paths[f"version {number}"] = folder / f"{number}.keras"
        model.save(paths[f"version {number}"])
        distinct += weights_bytes(model)

    shared = (BACKBONE * BACKBONE + BACKBONE) * 4
    return Repeated(paths=paths, distinct=distinct - shared, times=2)


def _freeze(model: Any, path: Path) -> None:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    spec = tf.TensorSpec([None, *model.inputs[0].shape[1:]], tf.float32, name="values")
    function = tf.function(model).get_concrete_function(spec)
    graph = convert_variables_to_constants_v2(function).graph
    path.write_bytes(graph.as_graph_def().SerializeToString())
