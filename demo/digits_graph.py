"""A multi-layer perceptron that reads digits, frozen as TensorFlow 1 programs did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from demo.digits import split_digits
from demo.held_out import score
from inference.backend import tf, tf1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from demo.held_out import Labelled
    from inference import Array

SEED = 1
EPOCHS = 30
BATCH = 32


def write_digits_graph(path: Path) -> str:
    """Train and freeze the network; return its score on held-out digits."""
    train, held_out = split_digits()

    with tf.Graph().as_default() as graph, tf1.Session() as session:
        tf1.set_random_seed(SEED)
        step = _training(_logits())
        session.run(tf1.global_variables_initializer())

        for rows, labels in _batches(train):
            session.run(step, {"image:0": rows, "label:0": labels})

        answers = session.run("digit:0", {"image:0": held_out.rows})
        frozen = tf1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), ["scores", "digit"]
        )

    path.write_bytes(frozen.SerializeToString(deterministic=True))
    return score(answers, held_out)


def _logits() -> Any:
    """Build the graph from `image` to `scores` and `digit`; return the logits."""
    image = tf1.placeholder(tf.float32, [None, 8, 8], name="image")
    values = tf.reshape(image, [-1, 64]) / 16
    values = tf.nn.relu(_dense(values, "hidden_1", 64, 128))
    values = tf.nn.relu(_dense(values, "hidden_2", 128, 64))
    logits = _dense(values, "logits", 64, 10)
    tf.nn.softmax(logits, name="scores")
    tf.argmax(logits, axis=1, name="digit")
    return logits


def _training(logits: Any) -> Any:
    label = tf1.placeholder(tf.int64, [None], name="label")
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits)
    return tf1.train.AdamOptimizer(0.001).minimize(tf.reduce_mean(loss))


def _dense(values: Any, name: str, width: int, units: int) -> Any:
    with tf1.variable_scope(name):
        kernel = tf1.get_variable("kernel", [width, units])
        bias = tf1.get_variable("bias", [units], initializer=tf1.zeros_initializer())

    return values @ kernel + bias


def _batches(train: Labelled) -> Iterator[tuple[Array, Array]]:
    source = np.random.default_rng(SEED)

    for _ in range(EPOCHS):
        order = source.permutation(len(train.labels))

        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            yield train.rows[chosen], train.labels[chosen]
