from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import onednn_enabled, tf, tf1
from inference.compiler.rewriting.folding import fold_scales
from inference.compiler.rewriting.forms import PASSES, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.types import Array

RANDOM = np.random.default_rng(7)
CHANNELS, MULTIPLIER = 3, 2
OUTPUTS = CHANNELS * MULTIPLIER
PIXELS = RANDOM.standard_normal((2, 5, 5, CHANNELS)).astype("f")


def numbers(*shape: int) -> Array:
    return RANDOM.standard_normal(shape).astype("f")


def convolved(scale: Callable[[Any], Any]) -> Any:
    """Return a GraphDef: `pixels` → depthwise convolution → `scale` → `scaled`."""
    graph = tf.Graph()

    with graph.as_default():
        pixels = tf1.placeholder(tf.float32, [None, 5, 5, CHANNELS], name="pixels")
        filters = tf.constant(numbers(3, 3, CHANNELS, MULTIPLIER))
        depthwise = tf.nn.depthwise_conv2d(
            pixels, filters, [1, 1, 1, 1], "SAME", name="depthwise"
        )
        tf.identity(scale(depthwise), name="scaled")

    return graph.as_graph_def()


def answer(graph_def: Any) -> Array:
    graph = tf.Graph()

    with graph.as_default():
        tf.graph_util.import_graph_def(graph_def, name="")

    with tf1.Session(graph=graph) as session:
        value: Array = session.run("scaled:0", {"pixels:0": PIXELS})
        return value


def kinds(graph_def: Any) -> list[str]:
    return [node.op for node in graph_def.node]


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(lambda x: x * numbers(OUTPUTS), id="behind"),
        pytest.param(lambda x: numbers(OUTPUTS) * x, id="before"),
        pytest.param(lambda x: x * numbers(1, 1, 1, OUTPUTS), id="of rank 4"),
    ],
)
def test_scale_is_folded_into_the_filters(scale: Callable[[Any], Any]) -> None:
    graph_def = convolved(scale)
    wanted = answer(graph_def)

    fold_scales(graph_def, ["pixels:0", "scaled:0"])

    assert "Mul" not in kinds(graph_def)
    np.testing.assert_allclose(answer(graph_def), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(lambda x: x * 2.0, id="one number for all"),
        pytest.param(lambda x: x * numbers(5, OUTPUTS), id="another for each row"),
        pytest.param(lambda x: x * numbers(OUTPUTS) + x, id="used unscaled too"),
        pytest.param(lambda x: x * x, id="no constant"),
        pytest.param(lambda x: x + numbers(OUTPUTS), id="no product"),
    ],
)
def test_other_multiplications_stay(scale: Callable[[Any], Any]) -> None:
    graph_def = convolved(scale)
    before = graph_def.SerializeToString(deterministic=True)

    fold_scales(graph_def, ["pixels:0", "scaled:0"])

    assert graph_def.SerializeToString(deterministic=True) == before


def test_fetched_convolution_stays() -> None:
    graph_def = convolved(lambda x: x * numbers(OUTPUTS))

    fold_scales(graph_def, ["pixels:0", "scaled:0", "depthwise:0"])

    assert "Mul" in kinds(graph_def)


def test_convolution_is_followed_directly_by_its_reader() -> None:
    """Then it can be fused with its reader."""
    graph_def = convolved(
        lambda x: tf.nn.relu6(x * numbers(OUTPUTS) + numbers(OUTPUTS))
    )
    wanted = answer(graph_def)
    tensors = ["pixels:0", "scaled:0"]

    fold_scales(graph_def, tensors)
    fused = rewrite(graph_def, tensors, PASSES)

    known = "_FusedDepthwiseConv2dNative" in kinds(fused)
    assert known == onednn_enabled()
    assert "Mul" not in kinds(fused)
    assert known or {"DepthwiseConv2dNative", "Relu6"} <= set(kinds(fused))
    assert not any(node.device for node in fused.node)
    np.testing.assert_allclose(answer(fused), wanted, rtol=0, atol=1e-5)


def test_cpu_fusions_are_made() -> None:
    """TensorFlow fuses only nodes that are placed on a CPU."""
    graph = tf.Graph()

    with graph.as_default():
        pixels = tf1.placeholder(tf.float32, [None, 5, 5, CHANNELS], name="pixels")
        product = tf.reshape(pixels, [-1, 75]) @ numbers(75, 4)
        biased = tf.nn.bias_add(product, numbers(4))
        tf.identity(tf.nn.relu(biased), name="scaled")

    graph_def = graph.as_graph_def()
    fused = rewrite(graph_def, ["pixels:0", "scaled:0"], PASSES)

    assert "_FusedMatMul" in kinds(fused)
    np.testing.assert_allclose(answer(fused), answer(graph_def), rtol=0, atol=1e-5)
