"""Signatures whose outputs follow from their inputs, and those whose don't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf

from inference.artifacts.artifact import signatures_of
from inference.backend import tf1
from inference.compiler.state.repeatable import is_repeatable
from inference.formats.graph.graphdef import prune
from tests.support.graphs import compile_graph, rows
from tests.support.specs import signature, spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def plain(x: Any) -> Any:
    return tf.nn.softmax(tf.matmul(x, tf.ones((2, 3))))


def read_variable(x: Any) -> Any:
    variable = tf1.get_variable("w", (2, 3), use_resource=True)
    return tf.matmul(x, variable) + tf.gather(variable, [0])


def table(x: Any) -> Any:
    pairs = tf.lookup.KeyValueTensorInitializer([0, 1], [5, 6])
    found = tf.lookup.StaticHashTable(pairs, -1).lookup(tf.cast(x, tf.int32))
    return tf.cast(found, tf.float32)


def loop(x: Any) -> Any:
    return tf.while_loop(lambda y: tf.reduce_sum(y) < 9, lambda y: y + 1, [x])[0]


def mapped(x: Any) -> Any:
    return tf.map_fn(lambda row: row * 2, x)


def branch(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: x, lambda: -x)


def checked(x: Any) -> Any:
    with tf.control_dependencies([tf.debugging.assert_non_negative(x)]):
        return tf.identity(x)


def seeded(x: Any) -> Any:
    return x + tf.random.stateless_uniform(tf.shape(x), seed=(1, 2))


@pytest.mark.parametrize(
    "function",
    [plain, read_variable, table, loop, mapped, branch, checked, seeded],
)
def test_a_function_of_its_inputs_is_repeatable(function: Any) -> None:
    assert judged(function)


def noise(x: Any) -> Any:
    return x + tf.random.normal(tf.shape(x))


def seeded_noise(x: Any) -> Any:
    # Its first call draws the same again, its second call something else.
    return x + tf1.random_normal(tf.shape(x), seed=3)


def shuffled(x: Any) -> Any:
    return tf.random.shuffle(x)


def sampled(x: Any) -> Any:
    return tf1.multinomial(x, 3)


def noise_in_a_branch(x: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: noise(x), lambda: x)


def noise_in_a_loop(x: Any) -> Any:
    return tf.while_loop(lambda y: tf.reduce_sum(y) < 9, noise, [x])[0]


def noise_in_a_function(x: Any) -> Any:
    return tf.function(noise)(x)


def noise_in_a_control(x: Any) -> Any:
    with tf.control_dependencies([noise(x)]):
        return tf.identity(x)


def counter(x: Any) -> Any:
    variable = tf1.get_variable("n", (), use_resource=True)
    return x + variable.assign_add(1.0)


def generator(x: Any) -> Any:
    return x + tf.random.Generator.from_seed(1).normal(tf.shape(x))


def clock(x: Any) -> Any:
    return x + tf.cast(tf.timestamp(), tf.float32)


def file(x: Any) -> Any:
    # Not marked as stateful, and reads what may change all the same.
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hosts")), tf.float32)


@pytest.mark.parametrize(
    "function",
    [
        *(noise, seeded_noise, shuffled, sampled, noise_in_a_branch, noise_in_a_loop),
        *(noise_in_a_function, noise_in_a_control, counter, generator, clock, file),
    ],
)
def test_random_or_stateful_functions_are_not_repeatable(function: Any) -> None:
    assert not judged(function)


def test_noise_that_no_output_needs_does_not_count() -> None:
    def beside(x: Any) -> Any:
        noise(x)
        return x * 2

    assert judged(beside)


@pytest.mark.parametrize(("function", "repeatable"), [(plain, True), (noise, False)])
def test_the_compiler_notes_it(
    tmp_path: Path, function: Callable[[Any], Any], repeatable: bool
) -> None:
    artifact = compile_graph(
        tmp_path, lambda: tf.identity(function(rows("x", 2)), name="y")
    )
    (found,) = signatures_of(artifact.read_manifest()).values()

    assert found.repeatable is repeatable


def judged(function: Callable[[Any], Any]) -> bool:
    """Return what the compiler says of a graph that computes `function` of rows."""
    with tf.Graph().as_default() as graph:
        tf.identity(function(rows("x", 2)), name="y")

    asked = signature(spec("x"))
    # A source has no initializers either.
    return is_repeatable(prune(graph.as_graph_def(), ["y:0"]), asked)
