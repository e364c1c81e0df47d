"""Models of as many bytes as asked for, whose answers NumPy gives: four numbers in, two
wide layers, one number out."""

from __future__ import annotations

import json
import logging
import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.client import post

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from benchmarks.client import Exchange
    from inference.types import Array

INPUT_SIZE = 4
VARIETY = 8
TOLERANCE = 1e-3
DECIMALS = 4


def weights_bytes(units: int) -> int:
    """What the widest of the layers takes, which is nearly all."""
    return units * units * 4


def write_graph(path: Path, units: int, seed: int) -> None:
    """As a frozen `.pb`. Imports TensorFlow: to be called in a child process."""
    from tensorflow.compat.v1 import Graph, constant, identity, matmul, placeholder

    first, second, last = _kernels(units, seed)

    with Graph().as_default() as graph:
        values = placeholder("float32", [None, INPUT_SIZE], name="values")
        hidden = matmul(matmul(values, constant(first)), constant(second))
        identity(matmul(hidden, constant(last)), name="answer")
        path.write_bytes(graph.as_graph_def().SerializeToString())


def write_keras(path: Path, units: int, seed: int) -> None:
    """The same as Keras `.h5`. Imports Keras: to be called in a child process."""
    import keras

    kernels = _kernels(units, seed)
    layers: list[Any] = [keras.Input((INPUT_SIZE,), name="values")]
    layers += [keras.layers.Dense(each.shape[1], use_bias=False) for each in kernels]
    model = keras.Sequential(layers)
    model.set_weights(kernels)
    # Keras warns, through this logger, that a newer format is there.
    logging.getLogger("absl").setLevel(logging.ERROR)
    model.save(path)


def rows() -> Array:
    """What all of them are asked."""
    drawn = np.random.default_rng(VARIETY).random((VARIETY, INPUT_SIZE))
    return np.round(drawn, DECIMALS).astype(np.float32)


def answers(units: int, seed: int) -> Array:
    """What the model of this size and seed answers to `rows`; one number each."""
    result = rows()

    for kernel in _kernels(units, seed):
        result = result @ kernel

    return result[:, 0]


def exchanges(name: str, units: int, seed: int) -> list[Exchange]:
    """A request for each of `rows` to the model `name`, and its right answer."""
    return [
        post(
            name,
            f"/v1/models/{name}:predict",
            json.dumps({"instances": [_decimals(row)]}).encode(),
            partial(_is_answer, float(answer)),
        )
        for row, answer in zip(rows(), answers(units, seed), strict=True)
    ]


def _is_answer(wanted: float, body: bytes) -> bool:
    [[given]] = json.loads(body)["predictions"]
    return math.isclose(given, wanted, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _decimals(row: Array) -> list[float]:
    return [round(float(value), DECIMALS) for value in row]


def _kernels(units: int, seed: int) -> list[Array]:
    """Scaled so that the numbers stay near 1."""
    generator = np.random.default_rng(seed)
    sizes = (INPUT_SIZE, units, units, 1)
    return [
        generator.standard_normal(shape, np.float32) / np.float32(shape[0] ** 0.5)
        for shape in zip(sizes, sizes[1:], strict=False)
    ]
