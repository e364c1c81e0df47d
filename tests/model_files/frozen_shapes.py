"""Frozen graphs with unusual inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tests.model_files.cases import Case
from tests.model_files.frozen_tf1 import (
    answer,
    dense,
    floats,
    freeze,
    opened,
    v1,
    variable,
)

if TYPE_CHECKING:
    from pathlib import Path

SIDECAR = """\
default_signature = "serving_default"

[constants]
temperature = 2.0

[signatures.serving_default]
inputs = { image = "pixels:0" }
outputs = { scores = "scaled:0", names = "labels:0" }
"""


def frozen_time_major(folder: Path) -> Case:
    """Dimension 0 is time, so rows of two requests mustn't be joined."""
    with tf.Graph().as_default():
        signal = v1.placeholder(tf.float32, [None, None, 3], name="signal")
        tf.cumsum(tf.tanh(signal * variable("gain", 3)), axis=0, name="levels")
        with opened() as session:
            inputs = {"signal": floats(4, 2, 3)}
            example = answer(session, {"levels": "levels:0"}, inputs)
            path = freeze(session, folder / "model.pb", "levels")

    return Case(path=path, examples=(example,), batchable=False)


def frozen_rows_interact(folder: Path) -> Case:
    """Every row's outputs depend on the others, though the shapes look batched."""
    with tf.Graph().as_default():
        rows = v1.placeholder(tf.float32, [None, 3], name="rows")
        tf.subtract(rows, tf.reduce_mean(rows, 0), name="centred")
        with opened() as session:
            example = answer(session, {"centred": "centred:0"}, {"rows": floats(4, 3)})
            path = freeze(session, folder / "model.pb", "centred")

    return Case(path=path, examples=(example,), batchable=False)


def frozen_unknown_rank(folder: Path) -> Case:
    """A scalar is accepted as well as a matrix."""
    with tf.Graph().as_default():
        anything = v1.placeholder(tf.float32, None, name="anything")
        tf.add(anything * 2.0, 1.0, name="affine")
        names = {"affine": "affine:0"}
        with opened() as session:
            feeds = ({"anything": value} for value in (floats(), floats(2, 3)))
            examples = tuple(answer(session, names, feed) for feed in feeds)
            path = freeze(session, folder / "model.pb", "affine")

    return Case(path=path, examples=examples, batchable=False)


def frozen_two_in_two_out(folder: Path) -> Case:
    with tf.Graph().as_default():
        left = v1.placeholder(tf.float32, [None, 3], name="left")
        right = v1.placeholder(tf.int32, [None, 2], name="side/right")
        joined = tf.concat([left, tf.cast(right, tf.float32)], 1)
        hidden = dense(joined, "hidden", 5, 4, activation=tf.tanh)
        dense(hidden, "score", 4, 1)
        tf.argmax(hidden, 1, name="heads/best")
        names = {"score": "score:0", "heads/best": "heads/best:0"}
        with opened() as session:
            inputs = {
                "left": floats(2, 3),
                "side/right": np.array([[1, 2], [3, 4]], "i4"),
            }
            example = answer(session, names, inputs)
            path = freeze(session, folder / "model.pb", *names)

    return Case(path=path, examples=(example,), batchable=True)


def frozen_sidecar(folder: Path) -> Case:
    """An output that is a constant and a setting, both known to the sidecar only."""
    with tf.Graph().as_default():
        pixels = v1.placeholder(tf.float32, [None, 6], name="pixels")
        temperature = v1.placeholder(tf.float32, [], name="temperature")
        tf.constant(["cat", "dog"], name="labels")
        scaled = dense(pixels, "logits", 6, 2) / temperature
        tf.nn.softmax(tf.identity(scaled, name="scaled"), name="probabilities")
        names = {"scores": "scaled:0", "names": "labels:0"}
        with opened() as session:
            fixed = {"pixels:0": floats(3, 6), "temperature:0": 2.0}
            example = answer(session, names, {}, fixed)
            path = freeze(session, folder / "model.pb", "probabilities", "labels")

    (folder / "model.toml").write_text(SIDECAR)
    renamed = type(example)(inputs={"image": floats(3, 6)}, outputs=example.outputs)
    return Case(path=path, examples=(renamed,), batchable=False)


def frozen_strings(folder: Path) -> Case:
    """Bytes in, numbers and bytes out."""
    with tf.Graph().as_default():
        raw = v1.placeholder(tf.string, [None], name="raw")
        values = tf.reshape(tf.io.decode_raw(raw, tf.float32), [-1, 4])
        sums = dense(values, "sums", 4, 2)
        tf.identity(sums, name="scores")
        tf.gather(tf.constant(["no", "yes"]), tf.argmax(sums, 1), name="verdict")
        names = {"scores": "scores:0", "verdict": "verdict:0"}
        with opened() as session:
            packed = [row.tobytes() for row in floats(3, 4)]
            example = answer(session, names, {"raw": np.array(packed, object)})
            path = freeze(session, folder / "model.pb", *names)

    return Case(path=path, examples=(example,))


def frozen_minimum_length(folder: Path) -> Case:
    """Fewer than nine steps fail, and the shapes don't say so."""
    with tf.Graph().as_default():
        sound = v1.placeholder(tf.float32, [None, None, 2], name="sound")
        hidden = tf.nn.conv1d(sound, variable("filters", 9, 2, 3), 1, "VALID")
        tf.reduce_max(hidden, 1, name="peaks")
        names = {"peaks": "peaks:0"}
        with opened() as session:
            feeds = ({"sound": floats(2, length, 2)} for length in (9, 16))
            examples = tuple(answer(session, names, feed) for feed in feeds)
            path = freeze(session, folder / "model.pb", "peaks")

    return Case(path=path, examples=examples)


def frozen_fixed_batch(folder: Path) -> Case:
    """Its first dimension is known, so nothing can be joined."""
    with tf.Graph().as_default():
        pixels = v1.placeholder(tf.float32, [1, 6], name="pixels")
        dense(pixels, "scores", 6, 2)
        with opened() as session:
            example = answer(session, {"scores": "scores:0"}, {"pixels": floats(1, 6)})
            path = freeze(session, folder / "model.pb", "scores")

    return Case(path=path, examples=(example,), batchable=False)
