"""Outputs of graphs with loops and branches: never a part of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from inference.backend import tf, tf1
from inference.formats.frozen_graph import read_graph
from inference.formats.graph.file import parse
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable
from tests.support.graphs import (
    compile_path,
    floats,
    old_control_flow,
    rows,
    write_graph,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.types import Array

    Body = Callable[[Any], Any]

KERNEL = floats(3, 3)
VARIABLE = tf.Variable(floats(3, 3))
"""Its readers are waited for, and so are the branch and the loop around them."""


def positive(x: Any) -> Any:
    return tf.reduce_sum(x) > 0


def mapped(x: Any) -> Any:
    return tf.map_fn(lambda row: tf.tanh(row * 2.0), x)


def scanned(x: Any) -> Any:
    return tf.scan(lambda state, row: state * 0.5 + row, x)


def recurrent(x: Any) -> Any:
    """Build a loop whose counter and state are unused: only its rows are read."""
    steps = tf.shape(x)[0]
    written = tf.TensorArray(tf.float32, steps)
    *_, written = tf.while_loop(
        lambda step, *_: step < steps,
        lambda step, state, array: (
            step + 1,
            tf.tanh(state @ VARIABLE + x[step]),
            array.write(step, tf.squeeze(state, 0)),
        ),
        (0, tf.zeros([1, 3]), written),
    )
    return written.stack()


def branched(x: Any) -> Any:
    return tf.cond(positive(x), lambda: x @ KERNEL, lambda: x * 2.0)


def branched_by_variable(x: Any) -> Any:
    return tf.cond(positive(x), lambda: x @ VARIABLE, lambda: x * 2.0)


def chosen(x: Any) -> Any:
    ways = [lambda: x, lambda: x * 2.0, lambda: x @ KERNEL]
    return tf.switch_case(tf.cast(positive(x), tf.int32), ways)


def first_true(x: Any) -> Any:
    cases = [(tf.reduce_sum(x) > 50, lambda: x), (positive(x), lambda: -x)]
    return tf.case(cases, default=lambda: x @ KERNEL)


def nested(x: Any) -> Any:
    def inner(times: Any, value: Any) -> Any:
        return tf.while_loop(
            lambda step, _: step < times,
            lambda step, inside: (step + 1, inside * 1.1),
            (0, value),
        )[1]

    return tf.while_loop(
        lambda step, _: step < 3,
        lambda step, value: (step + 1, inner(step, value)),
        (0, x),
    )[1]


def loop_in_a_branch(x: Any) -> Any:
    return tf.cond(positive(x), lambda: nested(x), lambda: -nested(x))


def branch_in_a_loop(x: Any) -> Any:
    return tf.while_loop(
        lambda step, _: step < 3,
        lambda step, value: (step + 1, branched(value)),
        (0, x),
    )[1]


BODIES = [
    *(mapped, scanned, recurrent, branched, branched_by_variable, chosen),
    *(first_true, nested, loop_in_a_branch, branch_in_a_loop),
]


def freeze(path: Path, body: Body, *, lower: bool) -> Callable[[Array], Array]:
    """Write a graph frozen by TensorFlow 2; return its own outputs."""
    function = tf.function(body).get_concrete_function(
        tf.TensorSpec([None, 3], tf.float32, name="x")
    )
    frozen = convert_variables_to_constants_v2(function, lower_control_flow=lower)
    path.write_bytes(frozen.graph.as_graph_def().SerializeToString())
    return lambda values: np.asarray(function(tf.constant(values)))


def outputs_of(path: Path) -> tuple[str, ...]:
    return read_graph(path, Sidecar(), Permissions())[1].outputs


@pytest.mark.parametrize("lower", [True, False], ids=["lowered", "functional"])
@pytest.mark.parametrize("body", BODIES)
def test_only_results_of_control_flow_are_outputs(
    tmp_path: Path, body: Body, lower: bool
) -> None:
    freeze(tmp_path / "model.pb", body, lower=lower)

    assert outputs_of(tmp_path / "model.pb") == ("Identity:0",)


@pytest.mark.parametrize("body", [recurrent, chosen, loop_in_a_branch])
def test_lowered_control_flow_matches_its_source(tmp_path: Path, body: Body) -> None:
    right = freeze(tmp_path / "model.pb", body, lower=True)
    artifact = compile_path(tmp_path / "model.pb", tmp_path / "artifact")

    with Servable(artifact) as servable:
        for values in (floats(4, 3) + 1, -floats(2, 3) - 1):
            given = servable.run("serving_default", {"x": values})
            np.testing.assert_allclose(given["Identity"], right(values), atol=1e-5)

    assert artifact.read_manifest().optimization == "full"


def freeze_old(path: Path, body: Body, result: str) -> None:
    """Write a graph frozen by TensorFlow 1 down to the operation with this prefix."""
    with old_control_flow():
        write_graph(path, lambda: tf.identity(body(rows("x", 3)), name="result"))

    graph_def = parse(path)
    last = max(node.name for node in graph_def.node if node.name.startswith(result))
    frozen = tf1.graph_util.extract_sub_graph(graph_def, [last])
    path.write_bytes(frozen.SerializeToString())


@pytest.mark.parametrize("body", [mapped, branched, first_true, nested])
def test_tf1_control_flow_result_is_the_output(tmp_path: Path, body: Body) -> None:
    freeze_old(tmp_path / "model.pb", body, "result")

    assert outputs_of(tmp_path / "model.pb") == ("result:0",)


def test_fetched_end_of_a_tf1_loop_is_an_output(
    tmp_path: Path,
) -> None:
    freeze_old(tmp_path / "model.pb", nested, "while/Exit")

    assert outputs_of(tmp_path / "model.pb") == ("while/Exit_1:0",)


def test_branch_index_is_not_an_output(tmp_path: Path) -> None:
    with old_control_flow():
        write_graph(tmp_path / "model.pb", lambda: branched(rows("x", 3)))

    (output,) = outputs_of(tmp_path / "model.pb")
    assert output.endswith("Merge:0")


def test_unused_branch_result_is_not_an_output(tmp_path: Path) -> None:
    def build() -> None:
        x = rows("x", 3)

        def way() -> Any:
            tf.identity(x * 3.0, name="unused")
            return x * 2.0

        tf.identity(tf.cond(positive(x), way, lambda: -x), name="result")

    with old_control_flow():
        write_graph(tmp_path / "model.pb", build)

    assert outputs_of(tmp_path / "model.pb") == ("result:0",)


@pytest.mark.parametrize(
    "body", [each for each in BODIES if each not in (recurrent, branched_by_variable)]
)
def test_unused_loop_variable_is_not_an_output(tmp_path: Path, body: Body) -> None:
    path = write_graph(
        tmp_path / "model.pb", lambda: tf.identity(body(rows("x", 3)), name="y")
    )

    assert outputs_of(path) == ("y:0",)


def test_unread_loop_results_are_outputs(tmp_path: Path) -> None:
    def build() -> None:
        tf.while_loop(
            lambda step, _: step < 3,
            lambda step, value: (step + 1, value * 2.0),
            (0, rows("x", 3)),
        )

    assert "while/Identity_3:0" in outputs_of(write_graph(tmp_path / "m.pb", build))
