"""Hints at the values of an input, also from within calls and loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from inference.backend import tf, tf1
from inference.formats.graph.value_hints import hints_of
from inference.inputs.hints import Hint, Hints
from tests.support.graphs import floats, old_control_flow, rows
from tests.support.specs import signature, spec

if TYPE_CHECKING:
    from collections.abc import Callable

    Build = Callable[[], object]

TABLE = 300


def hints(build: Build, *inputs: Any) -> Hints:
    with tf.Graph().as_default() as graph:
        build()

    return hints_of(graph.as_graph_def(), signature(*(inputs or (spec("x"),))))


def hint(build: Build) -> Hint:
    return hints(build).of("x")


def ids(*shape: int | None) -> Any:
    return rows("x", *(shape or (None,)), dtype="int32")


def table() -> Any:
    return tf.constant(floats(TABLE, 4))


def looked_up() -> None:
    tf.gather(table(), ids(), name="y")


def looked_up_as_keras_does() -> None:
    """Build a lookup with a cast, and ids from the end for negative ones."""
    wide = tf.cast(ids(), "int64")
    tf.gather(table(), tf.where(wide < 0, wide + TABLE, wide), name="y")


def looked_up_in_a_variable() -> None:
    handle = tf.raw_ops.VarHandleOp(dtype="float32", shape=[TABLE, 4])
    tf.raw_ops.ResourceGather(resource=handle, indices=ids(), dtype="float32", name="y")


def looked_up_in_columns() -> None:
    tf.gather(tf.constant(floats(4, TABLE)), ids(), axis=1, name="y")


def looked_up_in_a_function() -> None:
    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def look_up(values: Any, numbers: Any) -> Any:
        return tf.gather(values, numbers)

    tf.identity(look_up(table(), ids()), name="y")


def looked_up_behind_a_function() -> None:
    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def turn(numbers: Any) -> Any:
        return tf.transpose(numbers)

    tf.gather(table(), turn(ids()), name="y")


def looked_up_in_a_loop() -> None:
    values = table()
    tf.map_fn(lambda row: tf.gather(values, row), ids(), dtype="float32", name="y")


def looked_up_in_a_loop_of_old() -> None:
    with old_control_flow():
        looked_up_in_a_loop()


def one_hot() -> None:
    tf.one_hot(ids(), TABLE, name="y")


def counted() -> None:
    tf.raw_ops.DenseBincount(
        input=ids(), size=TABLE, weights=tf.constant([], "float32"), name="y"
    )


def looked_up_in_two() -> None:
    small = tf.gather(table(), ids())
    tf.gather(tf.constant(floats(9 * TABLE)), tf.cast(small, "int32"), name="y")


@pytest.mark.parametrize(
    "build",
    [
        looked_up,
        looked_up_as_keras_does,
        looked_up_in_a_variable,
        looked_up_in_columns,
        looked_up_in_a_function,
        looked_up_behind_a_function,
        looked_up_in_a_loop,
        looked_up_in_a_loop_of_old,
        one_hot,
        counted,
        looked_up_in_two,
    ],
)
def test_ids_are_below_the_number_of_rows(build: Build) -> None:
    assert hint(build).count == TABLE


def test_smallest_table_bounds_the_ids() -> None:
    def two() -> None:
        x = ids()
        tf.gather(table(), x)
        tf.gather(tf.constant(floats(7, 2)), x)

    assert hint(two).count == 7


def test_table_of_unknown_size_gives_no_hint() -> None:
    def unknown() -> None:
        handle = tf.raw_ops.VarHandleOp(dtype="float32", shape=None)
        x = ids()
        tf.gather(tf1.placeholder("float32", None), x, axis=1)
        tf.raw_ops.ResourceGather(resource=handle, indices=x, dtype="float32")

    assert hint(unknown).count is None


def test_computed_indices_give_no_hint() -> None:
    def hashed() -> None:
        tf.gather(table(), tf.math.floormod(ids() * 7, 11), name="y")

    assert hint(hashed).count is None


def asserted(check: Callable[[Any], Any]) -> Build:
    def build() -> None:
        x = rows("x", 4)

        with tf.control_dependencies([check(x)]):
            tf.matmul(x, floats(4, 2), name="y")

    return build


def between(x: Any) -> Any:
    low = tf1.assert_greater_equal(x, 0.0)
    return tf.group(low, tf1.assert_less_equal(tf.reduce_max(x), 0.5))


def above(x: Any) -> Any:
    return tf1.assert_greater(x, 10.0)


def below(x: Any) -> Any:
    return tf1.assert_less(x, -5.0)


def turned_about(x: Any) -> Any:
    return tf1.assert_less(30.0, x)


@pytest.mark.parametrize(
    ("check", "low", "high"),
    [
        (between, 0, 0.5),
        (above, 10, None),
        (below, None, -5),
        (turned_about, 30, None),
    ],
)
def test_asserted_range_is_used(
    check: Any, low: float | None, high: float | None
) -> None:
    found = hint(asserted(check))

    assert (found.low, found.high) == (low, high)


def test_comparison_without_assertion_gives_no_bound() -> None:
    def rectified() -> None:
        x = rows("x", 4)
        tf.where(x > 0.0, x, 0.1 * x, name="y")

    assert hint(rectified) == Hint()


def test_attention_bounds_lengths() -> None:
    def attention() -> None:
        x = rows("x", None, 4)
        tf.matmul(x, x, transpose_b=True, name="y")

    assert hints(attention).largest == 1024


def test_recursive_function_terminates() -> None:
    with tf.Graph().as_default() as graph:
        looked_up_in_a_function()

    graph_def = graph.as_graph_def()
    body = graph_def.library.function[0]
    call = body.node_def.add()
    call.CopyFrom(next(node for node in graph_def.node if "Call" in node.op))
    call.input[:] = [argument.name for argument in body.signature.input_arg]
    found = hints_of(graph_def, signature(spec("x"))).of("x")

    assert found.count == TABLE


@pytest.mark.parametrize(
    "damage",
    [
        lambda node, body: node.ClearField("input"),
        lambda node, body: body.signature.ClearField("input_arg"),
        lambda node, body: body.ClearField("node_def"),
        lambda node, body: node.input.reverse(),
        lambda node, body: [each.ClearField("input") for each in body.node_def],
        lambda node, body: [each.ClearField("attr") for each in body.node_def],
    ],
)
def test_damaged_graph_gives_no_hints(damage: Callable[[Any, Any], object]) -> None:
    with tf.Graph().as_default() as graph:
        looked_up_in_a_function()

    graph_def = graph.as_graph_def()
    call = next(node for node in graph_def.node if "Call" in node.op)
    damage(call, graph_def.library.function[0])

    assert hints_of(graph_def, signature(spec("x"))).of("x").count is None
