"""Inputs that are the number of rows: counted by the graph unless sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.formats.graph.row_counts import COUNTED
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, floats, rows
from tests.support.trained import defaults, opened, write_trained

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Build = Callable[[Any, Any], Any]

KERNEL = floats(4, 4)


def placed(x: Any, count: Any) -> Any:
    return x @ KERNEL + tf.fill([count, 4], 0.5)


def joined(x: Any, count: Any) -> Any:
    """Build a state as `zero_state` of TensorFlow 1 does."""
    sizes = tf.concat([tf.expand_dims(count, 0), tf.constant([4])], 0)
    return tf.concat([x, tf.zeros(sizes)], 1)


def recurrent(x: Any, count: Any) -> Any:
    state = tf.zeros([tf.cast(count, tf.int32), 4])
    return tf.while_loop(
        lambda step, _: step < 3,
        lambda step, value: (step + 1, tf.tanh(value @ KERNEL + x)),
        (0, state),
    )[1]


PLACEHOLDERS: dict[str, Callable[[str], Any]] = {
    "scalar": lambda name: tf1.placeholder(tf.int32, [], name),
    "long": lambda name: tf1.placeholder(tf.int64, [], name),
    "with a default": lambda name: tf1.placeholder_with_default(32, [], name),
}


@pytest.mark.parametrize(
    ("build", "kind", "name"),
    [
        (placed, "scalar", "batch_size"),
        (placed, "scalar", "n"),
        (joined, "scalar", "bs"),
        (joined, "with a default", "net/batch_size_1"),
        (recurrent, "long", "size"),
        (recurrent, "scalar", "decoder_batch_size"),
    ],
)
def test_rows_are_counted(tmp_path: Path, build: Build, kind: str, name: str) -> None:
    right = write_trained(
        tmp_path / "model.pb", lambda x: build(x, PLACEHOLDERS[kind](name)), {name: 3}
    )

    with opened(tmp_path) as source:
        assert defaults(source) == {name: COUNTED, "x": None}
        assert any(f"'{name}' is the number of rows of 'x'" in n for n in source.notes)

        signature = source.signatures["serving_default"]
        default = np.asarray(COUNTED, signature.inputs[name].dtype)
        given = source.reference(signature, {"x": floats(3, 4), name: default})

    np.testing.assert_allclose(given["result"], right, atol=1e-5)


def test_row_count_may_be_sent_and_is_optional(
    tmp_path: Path,
) -> None:
    artifact = compile_graph(
        tmp_path,
        lambda: tf.identity(
            placed(rows("x", 4), tf1.placeholder(tf.int32, name="batch_size")), "y"
        ),
    )

    with Servable(artifact) as servable:
        x = floats(5, 4)
        free = servable.run(
            "serving_default", {"x": x, "batch_size": np.array(COUNTED, "int32")}
        )
        set_right = servable.run(
            "serving_default", {"x": x, "batch_size": np.array(5, "int32")}
        )

        with pytest.raises(Exception, match="shape|[Ii]ncompatible"):
            servable.run(
                "serving_default", {"x": x, "batch_size": np.array(4, "int32")}
            )

    np.testing.assert_array_equal(free["y"], set_right["y"])
    np.testing.assert_allclose(free["y"], x @ KERNEL + 0.5, atol=1e-5)
    assert artifact.read_manifest().signatures["serving_default"].batchable


def test_row_count_may_be_fixed_by_the_sidecar(tmp_path: Path) -> None:
    write_trained(
        tmp_path / "model.pb",
        lambda x: placed(x, PLACEHOLDERS["scalar"]("batch_size")),
        {"batch_size": 3},
    )

    with opened(tmp_path, "[constants]\nbatch_size = 3\n") as source:
        assert defaults(source) == {"x": None}


def stepped(x: Any, count: Any) -> Any:
    """Build a number of steps, which isn't the size of anything by itself."""
    return tf.while_loop(
        lambda step, _: step < count, lambda step, value: (step + 1, value * 2), (0, x)
    )[1]


def tiled(x: Any, count: Any) -> Any:
    """Build a size that is also used for something else."""
    return tf.fill([count, 4], 1.0) * tf.cast(count, tf.float32) + x


def widened(x: Any, count: Any) -> Any:
    return tf.concat([x, tf.zeros([tf.shape(x)[0], count])], 1)


@pytest.mark.parametrize("build", [stepped, tiled, widened])
def test_other_numbers_are_required(tmp_path: Path, build: Build) -> None:
    write_trained(
        tmp_path / "model.pb",
        lambda x: build(x, PLACEHOLDERS["scalar"]("count")),
        {"count": 3},
    )

    with opened(tmp_path) as source:
        assert defaults(source) == {"count": None, "x": None}
