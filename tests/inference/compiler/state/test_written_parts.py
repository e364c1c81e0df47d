"""Partial writes of a variable, and reads of its rows, within one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from inference.compiler.state.state import localize
from inference.errors import InvalidModel
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path, write_saved_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.types import Array

    Write = Callable[[Any, Any], Any]

PAIR = tf.TensorSpec([1, 2], tf.float32, name="x")


class Memory(tf.Module):  # type: ignore[misc]
    """A module that writes `x` into rows, and returns rows of before and after."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        start = np.arange(8, dtype="float32").reshape(4, 2)
        self.rows = tf.Variable(start)

        def answer(x: Any) -> dict[str, Any]:
            before = tf.gather(self.rows, [1, 3])
            write(self.rows, x)
            after = tf.gather(self.rows, [[3], [1]])
            places = tf.gather_nd(self.rows, [[1, 0], [2, 1]])
            whole = self.rows.read_value()
            return {"before": before, "after": after, "at": places, "all": whole}

        self.answer = tf.function(answer, input_signature=[PAIR])


WRITES: dict[str, Write] = {
    "update": lambda rows, x: rows.scatter_update(tf.IndexedSlices(x, [1])),
    "add": lambda rows, x: rows.scatter_add(tf.IndexedSlices(x, [3])),
    "sub": lambda rows, x: rows.scatter_sub(tf.IndexedSlices(x, [1])),
    "max": lambda rows, x: rows.scatter_max(tf.IndexedSlices(x, [1])),
    "min": lambda rows, x: rows.scatter_min(tf.IndexedSlices(x, [3])),
    "update_places": lambda rows, x: rows.scatter_nd_update([[1]], x),
    "add_places": lambda rows, x: rows.scatter_nd_add([[1, 0], [2, 1]], x[0]),
    "slice": lambda rows, x: rows[1].assign(x[0]),
    "slices": lambda rows, x: rows[1:4:2, :1].assign(tf.transpose(x)),
}


def ask(served: Servable, **inputs: Array) -> dict[str, Array]:
    specs = served.signatures["serving_default"].inputs.values()
    defaults = {each.name: each.default for each in specs if each.default is not None}
    return served.run("serving_default", defaults | inputs)


@pytest.mark.parametrize("name", WRITES)
def test_partial_write_is_carried(tmp_path: Path, name: str) -> None:
    module = Memory(WRITES[name])
    tf.saved_model.save(module, tmp_path / "model", signatures=module.answer)
    beside = tmp_path / "model.toml"
    beside.write_text("carry_state = true\n")
    steps = [np.array([pair], "float32") for pair in ((9.0, -3.0), (2.0, 5.0))]
    wanted = [module.answer(tf.constant(x)) for x in steps]

    with Servable(
        compile_path(tmp_path / "model", tmp_path / "artifact", beside)
    ) as served:
        first = ask(served, x=steps[0])
        second = ask(served, x=steps[1], state=first["state"])
        again = ask(served, x=steps[0])

    for key in ("before", "after", "at", "all"):
        np.testing.assert_array_equal(first[key], wanted[0][key])
        np.testing.assert_array_equal(second[key], wanted[1][key])
        np.testing.assert_array_equal(again[key], first[key])


def test_many_writes_exceed_no_recursion_limit() -> None:
    with tf.Graph().as_default() as graph:
        handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], name="sum")
        last = tf.no_op()

        for _ in range(1200):
            with tf.control_dependencies([last]):
                last = tf.raw_ops.AssignAddVariableOp(resource=handle, value=1.0)

        with tf.control_dependencies([last]):
            tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32, name="y")

    graph_def = graph.as_graph_def()
    localize(graph_def, {"f": ["y:0"]}, carried=False, kept=())

    assert sum(node.op == "AddV2" for node in graph_def.node) == 1200


def test_write_without_functional_form_is_refused(tmp_path: Path) -> None:
    module = Memory(lambda rows, x: rows.scatter_mul(tf.IndexedSlices(x, [1])))
    tf.saved_model.save(module, tmp_path / "model", signatures=module.answer)

    with pytest.raises(InvalidModel, match="ResourceScatterMul"):
        compile_path(tmp_path / "model", tmp_path / "artifact")


def test_written_tf1_reference_is_refused(
    tmp_path: Path,
) -> None:
    def build() -> Any:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        seen = tf.compat.v1.get_variable("seen", initializer=1.0, use_resource=False)
        more = tf.compat.v1.assign_add(seen, tf.reduce_sum(x))
        return {"x": x}, {"y": x + more}

    write_saved_model(tmp_path / "model", build)

    with pytest.raises(InvalidModel, match=r"'AssignAdd' .*enable_resource_variables"):
        compile_path(tmp_path / "model", tmp_path / "artifact")
