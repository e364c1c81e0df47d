"""Models of any size whose answers NumPy computes: four numbers in, two wide layers,
one number out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness.exchanges import predict_path, predictions
from benchmarks.harness.models import save

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange
    from inference.types import Array

INPUT_SIZE = 4
VARIETY = 8
DECIMALS = 4


def weights_bytes(units: int) -> int:
    """Return the size of the widest layer, which is nearly all."""
    return units * units * 4


def write_graph(path: Path, units: int, seed: int) -> None:
    """Write a frozen `.pb`. Imports TensorFlow: to be called in a child process."""
    from tensorflow.compat.v1 import Graph, constant, identity, matmul, placeholder

    first, second, last = _kernels(units, seed)

    with Graph().as_default() as graph:
        values = placeholder("float32", [None, INPUT_SIZE], name="values")
        hidden = matmul(matmul(values, constant(first)), constant(second))
        identity(matmul(hidden, constant(last)), name="answer")
        path.write_bytes(graph.as_graph_def().SerializeToString())


def write_keras(path: Path, units: int, seed: int) -> None:
    """Write the same as `.h5`. Imports Keras: to be called in a child process."""
    import keras

    kernels = _kernels(units, seed)
    layers: list[Any] = [keras.Input((INPUT_SIZE,), name="values")]
    layers += [keras.layers.Dense(each.shape[1], use_bias=False) for each in kernels]
    model = keras.Sequential(layers)
    model.set_weights(kernels)
    save(model, path)


def rows() -> Array:
    """Return the rows that every model is asked with."""
    drawn = np.random.default_rng(VARIETY).random((VARIETY, INPUT_SIZE))
    return np.round(drawn, DECIMALS).astype(np.float32)


def answers(units: int, seed: int) -> Array:
    """Return the answers of the model of this size and seed to `rows`, as a column."""
    result = rows()

    for kernel in _kernels(units, seed):
        result = result @ kernel

    return result


def exchanges(name: str, units: int, seed: int) -> list[Exchange]:
    """Make a request for each of `rows` to the model `name`."""
    return predictions(rows(), answers(units, seed), predict_path(name))


def _kernels(units: int, seed: int) -> list[Array]:
    # Scaled so that the numbers stay near 1.
    generator = np.random.default_rng(seed)
    sizes = (INPUT_SIZE, units, units, 1)
    return [
        generator.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5)
        for shape in zip(sizes, sizes[1:], strict=False)
    ]
