"""Frozen graphs as TensorFlow 2 makes them, with their functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from tests.model_files.cases import Case, Example
from tests.model_files.frozen_tf1 import answer, floats, v1

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array


def frozen_tf2_conv(folder: Path) -> Case:
    filters, kernel = tf.Variable(floats(3, 3, 3, 4)), tf.Variable(floats(4, 3))

    def call(image: Any) -> Any:
        hidden = tf.nn.relu(tf.nn.conv2d(image, filters, 2, "SAME") + 0.1)
        return tf.nn.softmax(tf.reduce_mean(hidden, [1, 2]) @ kernel)

    graph, example = frozen(call, floats(2, 8, 8, 3))
    return written(graph, folder, example)


def frozen_functions_kept(folder: Path) -> Case:
    """The work is inside a function that the graph calls twice."""
    kernel, values = floats(8, 8), floats(2, 8)
    layer = tf.function(lambda rows: tf.tanh(rows @ kernel))
    with tf.Graph().as_default() as graph, v1.Session() as session:
        rows = v1.placeholder(tf.float32, [None, 8], name="values")
        tf.identity(layer(layer(rows)), name="Identity")
        example = answer(session, {"Identity": "Identity:0"}, {"values": values})

    assert graph.as_graph_def().library.function
    return written(graph.as_graph_def(), folder, example)


def frozen_dead_function(folder: Path) -> Case:
    """The library holds a function that reads a file and that no node calls."""
    kernel = tf.Variable(floats(8, 2))
    graph, example = frozen(lambda values: values @ kernel, floats(2, 8))
    reader = tf.function(tf.io.read_file).get_concrete_function(
        tf.TensorSpec([], tf.string, "name")
    )
    dead = graph.library.function.add()
    dead.CopyFrom(reader.function_def)
    assert any(node.op == "ReadFile" for node in dead.node_def)
    return written(graph, folder, example)


def frozen(call: Any, values: Array) -> tuple[Any, Example]:
    """Return the graph of `call` with constants for variables, and its outputs."""
    free = tf.TensorSpec([None, *values.shape[1:]], tf.float32, name="values")
    function = tf.function(call).get_concrete_function(free)
    constant = convert_variables_to_constants_v2(function)
    outputs = {"Identity": function(tf.constant(values)).numpy()}
    example = Example(inputs={"values": values}, outputs=outputs)
    return constant.graph.as_graph_def(), example


def written(graph: Any, folder: Path, example: Example) -> Case:
    path = folder / "model.pb"
    path.write_bytes(graph.SerializeToString())
    return Case(path=path, examples=(example,), batchable=True)
