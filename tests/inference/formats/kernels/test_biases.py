"""Pictures as wide as they have channels, their channels first: which get the bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers

from inference.backend import tf, tf1
from inference.formats.kernels.adapting import adapt
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path, floats, write_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[..., Any]

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't")

MADE: dict[str, tuple[tuple[int, ...], Make]] = {
    "Conv1D": ((3, 10), lambda **options: layers.Conv1D(8, 3, **options)),
    "Conv2D": ((3, 10, 10), lambda **options: layers.Conv2D(8, 3, **options)),
    "Conv3D": ((3, 6, 6, 6), lambda **options: layers.Conv3D(4, 3, **options)),
    "Conv2DTranspose": (
        (3, 6, 6),
        lambda **options: layers.Conv2DTranspose(8, 3, **options),
    ),
    "DepthwiseConv2D": (
        (8, 10, 10),
        lambda **options: layers.DepthwiseConv2D(3, **options),
    ),
    "wider": ((3, 11, 11), lambda **options: layers.Conv2D(8, 3, **options)),
}


def twin_of(layer: Any, make: Make, shape: tuple[int, ...]) -> Any:
    """Return the model of the same layer whose channels are last."""
    taken = keras.Input((*shape[1:], shape[0]))
    twin = keras.Sequential([taken, make(data_format="channels_last")])
    twin.set_weights(layer.get_weights())
    return twin


@pytest.mark.parametrize("saved", ["model.keras", "exported"])
def test_each_channel_has_its_bias(tmp_path: Path, saved: str) -> None:
    taken = {name: keras.Input(shape, name=name) for name, (shape, _) in MADE.items()}
    made = {
        name: make(data_format="channels_first", name=f"{name}_y")
        for name, (_, make) in MADE.items()
    }
    model = keras.Model(taken, {f"{name}_y": made[name](taken[name]) for name in MADE})
    model.set_weights([floats(*weight.shape) for weight in model.get_weights()])
    values = {name: floats(2, *shape) for name, (shape, _) in MADE.items()}

    if saved == "exported":
        model.export(str(tmp_path / saved), verbose=False)
    else:
        model.save(tmp_path / saved)

    with Servable(compile_path(tmp_path / saved, tmp_path / "artifact")) as servable:
        given = servable.run("serving_default", values)

    for name, (shape, make) in MADE.items():
        last = twin_of(made[name], make, shape)(np.moveaxis(values[name], 1, -1))
        right = np.moveaxis(np.asarray(last), -1, 1)
        np.testing.assert_allclose(given[f"{name}_y"], right, atol=1e-5, err_msg=name)


def test_a_bias_that_was_folded_to_a_constant(tmp_path: Path) -> None:
    kernel, bias = floats(3, 3, 3, 8), floats(8)

    def build() -> None:
        x = tf1.placeholder(tf.float32, [None, 3, 10, 10], name="x")
        y = tf.nn.conv2d(x, kernel, 1, "VALID", data_format="NCHW")
        tf.nn.bias_add(y, bias, name="y")

    values = floats(2, 3, 10, 10)
    last = tf.nn.conv2d(np.moveaxis(values, 1, -1), kernel, 1, "VALID") + bias
    path = write_graph(tmp_path / "model.pb", build)

    with Servable(compile_path(path, tmp_path / "artifact")) as servable:
        given = servable.run("serving_default", {"x": values})["y"]

    np.testing.assert_allclose(given, np.moveaxis(last, -1, 1), atol=1e-5)


def test_other_biases_stay() -> None:
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None, 8, 8, 8], name="x")
        tf.nn.bias_add(tf.nn.relu(x), floats(8))
        tf.nn.bias_add(tf.nn.conv2d(x, floats(3, 3, 8, 6), 1, "SAME"), floats(6))

    graph_def = graph.as_graph_def()

    assert adapt(graph_def, ["BiasAdd_1:0"]) == []
