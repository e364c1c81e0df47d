from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.formats.kernels.adapting import adapt
from inference.formats.kernels.wide_sums import is_narrow
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.types import Array

MANY = 5000
ZEROS = np.zeros(MANY, "int32")
ONES = [1, 1, 1, 1]
NUMBERS = np.random.default_rng(4).uniform(0.05, 0.15, (MANY, 3))
NEAR_ONE = np.random.default_rng(4).uniform(0.999, 1.001, (MANY, 3))
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def picture(x: Any) -> Any:
    return tf.reshape(x, [1, 50, 100, 3])


def depthwise(x: Any) -> Any:
    filters = tf.ones([50, 100, 3, 1], x.dtype)
    return tf.nn.depthwise_conv2d(picture(x), filters, ONES, "VALID")


def sparse_product(x: Any) -> Any:
    ones = tf.sparse.from_dense(tf.ones([1, MANY], x.dtype))
    return tf.sparse.sparse_dense_matmul(ones, x)


def scattered(x: Any) -> Any:
    return tf.scatter_nd(ZEROS[:, None], x, [1, 3])


def added(x: Any) -> Any:
    return tf.tensor_scatter_nd_add(tf.zeros([1, 3], x.dtype), ZEROS[:, None], x)


def taken_away(x: Any) -> Any:
    return -tf.tensor_scatter_nd_sub(tf.zeros([1, 3], x.dtype), ZEROS[:, None], x)


def norm(x: Any) -> Any:
    return tf.raw_ops.EuclideanNorm(input=x, axis=[0])


def cubes(x: Any) -> Any:
    movie = tf.reshape(x, [1, 5, 10, 100, 3])
    return tf.nn.avg_pool3d(movie, [5, 10, 100], 1, "VALID")


def gathered_bias(x: Any) -> Any:
    return tf.raw_ops.BiasAddGrad(out_backprop=x)


def exponents(x: Any) -> Any:
    return tf.math.cumulative_logsumexp(x, 0)[-1]


SUMS = [
    pytest.param(lambda x: tf.reduce_sum(x, 0), lambda x: x.sum(0), id="sum"),
    pytest.param(lambda x: tf.reduce_mean(x, 0), lambda x: x.mean(0), id="mean"),
    pytest.param(lambda x: tf.cumsum(x)[-1], lambda x: x.sum(0), id="cumsum"),
    pytest.param(norm, lambda x: np.sqrt((x * x).sum(0)), id="norm"),
    pytest.param(
        lambda x: tf.nn.avg_pool2d(picture(x), [50, 100], 1, "VALID"),
        lambda x: x.mean(0),
        id="avg pool",
    ),
    pytest.param(cubes, lambda x: x.mean(0), id="avg pool of three dimensions"),
    pytest.param(depthwise, lambda x: x.sum(0), id="depthwise convolution"),
    pytest.param(sparse_product, lambda x: x.sum(0), id="sparse product"),
    pytest.param(scattered, lambda x: x.sum(0), id="scatter"),
    pytest.param(added, lambda x: x.sum(0), id="scatter to a tensor"),
    pytest.param(taken_away, lambda x: x.sum(0), id="scatter off a tensor"),
    pytest.param(gathered_bias, lambda x: x.sum(0), id="gradient of a bias"),
    pytest.param(exponents, lambda x: np.log(np.exp(x).sum(0)), id="logsumexp"),
    pytest.param(
        lambda x: tf.math.segment_sum(x, ZEROS), lambda x: x.sum(0), id="segment sum"
    ),
    pytest.param(
        lambda x: tf.math.segment_mean(x, ZEROS), lambda x: x.mean(0), id="segment mean"
    ),
    pytest.param(
        lambda x: tf.math.unsorted_segment_mean(x, ZEROS, 1),
        lambda x: x.mean(0),
        id="unsorted segment mean",
    ),
    pytest.param(
        lambda x: tf.einsum("ic->c", x), lambda x: x.sum(0), id="einsum of one operand"
    ),
    pytest.param(
        lambda x: tf.einsum("i...->...", x), lambda x: x.sum(0), id="einsum, ellipsis"
    ),
    pytest.param(
        lambda x: tf.einsum("ic,d->cd", x, tf.ones([1], x.dtype)),
        lambda x: x.sum(0),
        id="einsum, an index of one operand",
    ),
    pytest.param(
        lambda x: tf.einsum("ic,ic->c", x, tf.ones_like(x)),
        lambda x: x.sum(0),
        id="einsum, an index of two",
    ),
]

PRODUCTS = [
    pytest.param(lambda x: tf.reduce_prod(x, 0), id="product"),
    pytest.param(lambda x: tf.math.cumprod(x)[-1], id="cumprod"),
    pytest.param(lambda x: tf.math.segment_prod(x, ZEROS), id="segment product"),
    pytest.param(
        lambda x: tf.math.unsorted_segment_prod(x, ZEROS, 1),
        id="unsorted segment product",
    ),
]


@pytest.mark.parametrize(
    ("equation", "narrow"),
    [
        ("ic->c", True),
        ("i c -> c", True),
        ("ic,d->cd", True),
        ("...i->...", True),
        ("ii->", True),
        ("ic,ic->c", False),
        ("...ij,...jk->...ik", False),
        ("ic->ci", False),
    ],
)
def test_einsums_that_sum_one_operand_are_narrow(equation: str, narrow: bool) -> None:
    node = tf1.NodeDef(op="Einsum")
    node.attr["equation"].s = equation.encode()
    node.attr["T"].type = tf.float16.as_datatype_enum

    assert is_narrow(node) is narrow


def graph(build: Callable[[Any], Any], dtype: str) -> Any:
    with tf.Graph().as_default() as made:
        y = build(tf1.placeholder(dtype, [MANY, 3], name="x"))
        tf.reshape(tf.cast(y, "float64"), [-1], name="y")

    return made.as_graph_def()


def answer(graph_def: Any, numbers: Array) -> Array:
    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(graph_def, name="")

    with tf1.Session(graph=imported) as session:
        value: Array = session.run("y:0", {"x:0": numbers})
        return value


def narrowed(numbers: Array, dtype: str) -> tuple[Array, Array]:
    """Return inputs as a client would send them, and the same values in float64."""
    given = numbers.astype(getattr(ml_dtypes, dtype, dtype))
    return given, given.astype("float64")


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize(("build", "truth"), SUMS)
def test_many_halves_are_summed_correctly(
    build: Callable[[Any], Any], truth: Callable[[Array], Array], dtype: str
) -> None:
    given, exact = narrowed(NUMBERS, dtype)
    graph_def = graph(build, dtype)

    adapt(graph_def, ["y:0"])

    error = np.abs(answer(graph_def, given) / truth(exact) - 1)
    assert error.max() < 2 * EPSILON[dtype]


@pytest.mark.parametrize("dtype", EPSILON)
@pytest.mark.parametrize("build", PRODUCTS)
def test_many_halves_are_multiplied_correctly(
    build: Callable[[Any], Any], dtype: str
) -> None:
    given, exact = narrowed(NEAR_ONE, dtype)
    graph_def = graph(build, dtype)

    notes = adapt(graph_def, ["y:0"])

    error = np.abs(answer(graph_def, given) / exact.prod(0) - 1)
    assert error.max() < 2 * EPSILON[dtype]
    assert "float32" in notes[0]


def test_missing_narrow_kernels_are_computed_in_float32() -> None:
    given, exact = narrowed(NUMBERS, "float16")
    window = [50, 100]
    highest = graph(
        lambda x: tf.nn.max_pool3d(picture(x)[None], [1, *window], 1, "VALID"),
        "float16",
    )
    normed = graph(
        lambda x: tf.nn.local_response_normalization(picture(x), alpha=0.0)[0, -1, -1],
        "bfloat16",
    )

    assert adapt(highest, ["y:0"])
    assert adapt(normed, ["y:0"])

    assert answer(highest, given).tolist() == exact.max(0).tolist()
    given, exact = narrowed(NUMBERS, "bfloat16")
    assert answer(normed, given).tolist() == exact[-1].tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float32_sums_are_unchanged(dtype: str) -> None:
    graph_def = graph(lambda x: tf.reduce_mean(tf.cumsum(x), 0), dtype)
    before = graph_def.SerializeToString(deterministic=True)

    assert adapt(graph_def, ["y:0"]) == []
    assert graph_def.SerializeToString(deterministic=True) == before


def test_sums_in_functions_are_widened() -> None:
    inner = tf.function(lambda x: tf.reduce_sum(x, 0), autograph=False)
    given, exact = narrowed(NUMBERS, "float16")
    graph_def = graph(inner, "float16")

    adapt(graph_def, ["y:0"])

    np.testing.assert_allclose(answer(graph_def, given), exact.sum(0), rtol=2e-3)


@pytest.mark.parametrize("form", ["channels first", "channels last"])
def test_mean_over_an_image_is_compiled_correctly(tmp_path: Path, form: str) -> None:
    last = form == "channels last"

    def build() -> None:
        shape = (112, 112, 8) if last else (8, 112, 112)
        x = rows("x", *shape, dtype="float16")
        window = [112, 112]
        pooled = tf.nn.avg_pool2d(
            x, window, window, "VALID", data_format="NHWC" if last else "NCHW"
        )
        mean = tf.reduce_mean(x, [1, 2] if last else [2, 3])
        tf.add(tf.reshape(pooled, [-1, 8]), mean, name="y")

    artifact = compile_graph(tmp_path, build)
    picture = np.full((1, 112, 112, 8) if last else (1, 8, 112, 112), 4, "float16")

    with Servable(artifact) as servable:
        outputs = servable.run("serving_default", {"x": picture})

    assert outputs["y"].tolist() == [[8.0] * 8]
    manifest = artifact.read_manifest()
    assert manifest.optimization == "full"
    assert any("computed in float32" in note for note in manifest.notes)
