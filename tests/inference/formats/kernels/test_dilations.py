from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.formats.kernels.adapting import adapt
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, floats, rows
from tests.support.layouts import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inference.types import Array

PICTURES = floats(2, 7, 8, 3)
MOVIES = floats(2, 5, 6, 7, 3)
SQUARE = floats(3, 2, 4, 3)
DEPTHWISE = floats(3, 2, 3, 2)
CUBE = floats(2, 3, 2, 3, 4)
CUBE_BACK = floats(2, 3, 2, 4, 3)


def steps(
    filters: Array, rates: tuple[int, ...]
) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Yield for each position in `filters` its matrix, and where it meets an image."""
    for place in product(*map(range, filters.shape[: len(rates)])):
        yield filters[place], tuple(map(int.__mul__, place, rates))


def over(sizes: tuple[int, ...], starts: tuple[int, ...]) -> tuple[slice, ...]:
    ends = zip(starts, sizes, strict=True)
    return (slice(None), *(slice(start, start + size) for start, size in ends))


def reach(filters: Array, rates: tuple[int, ...]) -> list[int]:
    sizes = zip(filters.shape, rates, strict=False)
    return [(size - 1) * rate for size, rate in sizes]


def convolved(x: Array, filters: Array, rates: tuple[int, ...]) -> Array:
    sizes = tuple(np.subtract(x.shape[1:-1], reach(filters, rates)).tolist())
    parts = [x[over(sizes, start)] @ matrix for matrix, start in steps(filters, rates)]
    summed: Array = np.sum(parts, 0)
    return summed


def transposed(y: Array, filters: Array, rates: tuple[int, ...]) -> Array:
    sizes = y.shape[1:-1]
    whole = np.add(sizes, reach(filters, rates)).tolist()
    x = np.zeros((len(y), *whole, filters.shape[-2]))

    for matrix, start in steps(filters, rates):
        x[over(sizes, start)] += y @ matrix.T

    return x


def apart(x: Array, filters: Array, rates: tuple[int, ...]) -> Array:
    """Return depthwise filters as plain ones, each channel to its own outputs."""
    high, wide, channels, times = filters.shape
    matrices = np.zeros((high, wide, channels, channels * times))

    for channel in range(channels):
        own = slice(channel * times, (channel + 1) * times)
        matrices[:, :, channel, own] = filters[:, :, channel]

    return convolved(x, matrices, rates)


def square_back(y: Any) -> Any:
    size = [2, 7 + 2 * 2, 8 + 3 * 1, 4]
    return tf.nn.conv2d_transpose(y, SQUARE, size, 1, "VALID", dilations=[2, 3])


def square_back_first(y: Any) -> Any:
    size = [2, 4, 7 + 2 * 2, 8 + 3 * 1]
    y = tf.transpose(y, [0, 3, 1, 2])
    made = tf.nn.conv2d_transpose(y, SQUARE, size, 1, "VALID", "NCHW", [1, 1, 2, 3])
    return tf.transpose(made, [0, 2, 3, 1])


def cube(x: Any) -> Any:
    return tf.nn.conv3d(x, CUBE, [1] * 5, "VALID", dilations=[1, 1, 2, 2, 1])


def cube_back(y: Any) -> Any:
    size = [2, 5 + 1, 6 + 2 * 2, 7 + 2, 4]
    rates = [1, 1, 2, 2, 1]
    return tf.nn.conv3d_transpose(y, CUBE_BACK, size, 1, "VALID", dilations=rates)


def depthwise(x: Any) -> Any:
    return tf.raw_ops.DepthwiseConv2dNative(
        input=x,
        filter=DEPTHWISE,
        strides=[1] * 4,
        padding="VALID",
        dilations=[1, 2, 3, 1],
    )


CASES = [
    pytest.param(square_back, PICTURES, transposed, SQUARE, (2, 3), id="transposed"),
    pytest.param(
        square_back_first, PICTURES, transposed, SQUARE, (2, 3), id="channels first"
    ),
    pytest.param(cube, MOVIES, convolved, CUBE, (1, 2, 2), id="cubes"),
    pytest.param(
        cube_back, MOVIES, transposed, CUBE_BACK, (1, 2, 2), id="cubes transposed"
    ),
    pytest.param(depthwise, PICTURES, apart, DEPTHWISE, (2, 3), id="depthwise"),
]


@pytest.mark.parametrize(("build", "given", "truth", "filters", "rates"), CASES)
def test_dilated_convolution_runs_on_any_cpu(
    build: Callable[[Any], Any],
    given: Array,
    truth: Callable[[Array, Array, tuple[int, ...]], Array],
    filters: Array,
    rates: tuple[int, ...],
) -> None:
    with tf.Graph().as_default() as made:
        tf.identity(build(rows("x", *given.shape[1:])), name="y")

    graph_def = made.as_graph_def()

    notes = adapt(graph_def, ["y:0"])

    assert any("Dilated" in note for note in notes)
    dilations = [node.attr["dilations"].list.i for node in graph_def.node]
    assert all(set(each) <= {1} for each in dilations)
    wanted = truth(given.astype("float64"), filters.astype("float64"), rates)
    np.testing.assert_allclose(answer(graph_def, given), wanted, rtol=0, atol=1e-4)


def test_dilated_conv2d_is_unchanged(tmp_path: Path) -> None:
    filters = floats(3, 2, 3, 4)

    def build() -> None:
        x = rows("x", *PICTURES.shape[1:])
        tf.nn.conv2d(x, filters, 1, "VALID", dilations=[2, 3], name="y")

    artifact = compile_graph(tmp_path, build)

    with Servable(artifact) as servable:
        y = servable.run("serving_default", {"x": PICTURES})["y"]

    np.testing.assert_allclose(y, convolved(PICTURES, filters, (2, 3)), atol=1e-4)
    assert artifact.read_manifest().notes == ()


def test_large_dilation_is_unchanged() -> None:
    with tf.Graph().as_default() as made:
        x = tf1.placeholder(tf.float32, [1, 2000, 2000, 3])
        size = [1, 4000, 3000, 4]
        tf.nn.conv2d_transpose(x, SQUARE, size, 1, "VALID", dilations=[1000, 1000])

    assert adapt(made.as_graph_def(), []) == []
