from __future__ import annotations

from typing import Any

import pytest

from inference.backend import tf, tf1
from inference.formats.graph.example_records import example_records

FEATURES = {
    "age": tf.io.FixedLenFeature([], tf.int64),
    "pixels": tf.io.FixedLenFeature([2, 3], tf.float32),
    "name": tf.io.FixedLenFeature([1], tf.string),
    "tags": tf.io.VarLenFeature(tf.string),
}


KINDS = ("int64", "float32", "string")


def parser(*, old: bool) -> Any:
    """Return a graph that parses `FEATURES`, by the operation of TensorFlow 1 or 2."""
    graph = tf.Graph()

    with graph.as_default():
        serialized = tf1.placeholder(tf.string, [None], name="serialized")

        if old:
            parsed = tf.raw_ops.ParseExample(
                serialized=serialized,
                names=tf.constant([], tf.string),
                sparse_keys=[tf.constant("tags")],
                dense_keys=[tf.constant(key) for key in ("age", "pixels", "name")],
                dense_defaults=[
                    tf.constant([], kind) for kind in ("int64", "float32", "string")
                ],
                sparse_types=[tf.string],
                dense_shapes=[[], [2, 3], [1]],
            )
            dense = parsed.dense_values
        else:
            parsed = tf.io.parse_example(serialized, FEATURES)
            dense = [parsed[key] for key in ("age", "pixels", "name")]

        for name, tensor in zip(("age", "pixels", "name"), dense, strict=True):
            tf.identity(tensor, name=name)

    return graph


@pytest.mark.parametrize("old", [True, False], ids=["ParseExample", "V2"])
def test_graph_parses_its_records(old: bool) -> None:
    graph = parser(old=old)
    (records,) = example_records(graph.as_graph_def())

    with tf1.Session(graph=graph) as session:
        age, pixels, name = session.run(
            ["age:0", "pixels:0", "name:0"], {"serialized:0": list(records)}
        )

    assert age.tolist() == [0, 1]
    assert pixels.shape == (2, 2, 3)
    assert name.tolist() == [[b"a"], [b"b"]]


def test_other_graphs_have_no_records() -> None:
    graph = tf.Graph()

    with graph.as_default():
        tf.strings.length(tf1.placeholder(tf.string, [None]))

    assert example_records(graph.as_graph_def()) == []


def test_records_of_one_operation_differ() -> None:
    (records,) = example_records(parser(old=False).as_graph_def())

    assert len(set(records)) == len(records) == 2
