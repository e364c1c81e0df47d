from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.compiler.verification.precision import rounding
from tests.support.graphs import compile_graph, floats, rows, source_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KERNEL = floats(4, 4)


def product(x: Any, kind: Any) -> Any:
    narrow = tf.cast(x, kind) @ tf.cast(KERNEL, kind)
    return tf.cast(narrow, tf.float32)


def wide_weights(x: Any) -> Any:
    stored = tf1.constant(KERNEL.astype("float16"))
    return x @ tf.cast(stored, tf.float32)


def looped(x: Any) -> Any:
    _, last = tf.while_loop(
        lambda turn, _: turn < 3,
        lambda turn, value: (turn + 1, product(value, tf.bfloat16)),
        (tf.constant(0), x),
    )
    return last


def called(x: Any) -> Any:
    return tf.function(lambda value: product(value, tf.float16))(x)


@pytest.mark.parametrize(
    ("build", "nbytes"),
    [
        pytest.param(lambda x: x @ KERNEL, 4, id="float32"),
        pytest.param(lambda x: product(x, tf.float64), 4, id="narrowed at the end"),
        pytest.param(lambda x: product(x, tf.float16), 2, id="float16"),
        pytest.param(lambda x: product(x, tf.bfloat16), 2, id="bfloat16"),
        pytest.param(
            lambda x: tf.cast(
                tf.cast(x, tf.dtypes.experimental.float8_e5m2), tf.float32
            ),
            2,
            id="float8",
        ),
        pytest.param(called, 2, id="in a function"),
        pytest.param(looped, 2, id="in a loop"),
        pytest.param(wide_weights, 4, id="weights alone"),
        pytest.param(tf.identity, 8, id="nothing"),
    ],
)
def test_narrowest_float_on_the_path_counts(
    tmp_path: Path, build: Callable[[Any], Any], nbytes: int
) -> None:
    def graph() -> None:
        tf.identity(build(rows("x", 4)), name="y")

    with source_of(tmp_path, graph) as source:
        [signature] = source.signatures.values()
        assert rounding(source.graph_def, signature)["y"] == nbytes


def test_precision_is_found_per_output(tmp_path: Path) -> None:
    def graph() -> None:
        x = rows("x", 4)
        tf.identity(product(x, tf.float16), name="rough")
        tf.identity(x @ KERNEL, name="fine")

    with source_of(tmp_path, graph) as source:
        [signature] = source.signatures.values()
        assert rounding(source.graph_def, signature) == {"rough": 2, "fine": 4}


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("activation", [tf.nn.relu, tf.nn.gelu, tf.nn.silu])
def test_mixed_precision_is_optimised_and_batchable(
    tmp_path: Path, kind: str, activation: Callable[[Any], Any]
) -> None:
    """Correct kernels differ by more than the rounding of the float32 outputs."""
    wide, head = floats(8, 64), floats(64, 2)

    def graph() -> None:
        hidden = tf.cast(rows("x", 8), kind) @ tf.cast(wide, kind)
        biased = tf.nn.bias_add(hidden, tf.cast(floats(64), kind))
        activated = tf.cast(activation(biased), tf.float32)
        tf.matmul(activated, head, name="y")

    manifest = compile_graph(tmp_path, graph).read_manifest()
    assert manifest.optimization == "full"
    assert manifest.signatures["serving_default"].batchable
    assert manifest.largest_difference is not None
    assert np.isfinite(manifest.largest_difference)
