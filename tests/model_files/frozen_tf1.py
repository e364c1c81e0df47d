"""Frozen graphs as TensorFlow 1 made them: v1 control flow, flags, side outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tests.model_files.cases import Case, Example

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inference.types import Array

v1 = tf.compat.v1
v1.disable_control_flow_v2()


def rng() -> np.random.Generator:
    return np.random.default_rng(13)


def floats(*shape: int) -> Array:
    return rng().normal(size=shape).astype("float32")


def variable(name: str, *shape: int) -> Any:
    """Return a TensorFlow 1 variable: a `VariableV2`, not a resource."""
    source = np.random.default_rng(list(name.encode()))
    start = v1.constant_initializer(source.normal(scale=0.4, size=shape))
    return v1.get_variable(name, shape, initializer=start, use_resource=False)


def dense(values: Any, name: str, *shape: int, activation: Any = tf.identity) -> Any:
    """Return `activation(values @ kernel + bias)`, as the op called `name`."""
    sums = tf.matmul(values, variable(f"{name}_kernel", *shape))
    return activation(sums + variable(f"{name}_bias", shape[1]), name=name)


def answer(
    session: Any,
    names: Mapping[str, str],
    inputs: Mapping[str, Array],
    fixed: Mapping[str, object] | None = None,
) -> Example:
    """Return the session's outputs.

    `names` maps outputs to tensors; `fixed` are extra feeds.
    """
    feed = {f"{name}:0": value for name, value in inputs.items()} | dict(fixed or {})
    values = session.run(list(names.values()), feed)
    arrays = [np.asarray(value) for value in values]
    return Example(inputs=inputs, outputs=dict(zip(names, arrays, strict=True)))


def freeze(session: Any, path: Path, *nodes: str, producer: int = 0) -> Path:
    """Write the session's graph with constants for variables, down to `nodes`."""
    frozen = v1.graph_util.convert_variables_to_constants(
        session, session.graph_def, list(nodes)
    )
    frozen.versions.producer = producer
    path.write_bytes(frozen.SerializeToString())
    return path


def opened() -> Any:
    """Yield a session whose variables are initialised."""
    session = v1.Session()
    session.run(v1.global_variables_initializer())
    return session


def frozen_conv_norm(folder: Path) -> Case:
    with tf.Graph().as_default():
        image = v1.placeholder(tf.float32, [None, 8, 8, 3], name="image")
        hidden = tf.nn.conv2d(image, variable("filters", 3, 3, 3, 4), 1, "SAME")
        variance = tf.abs(variable("variance", 4)) + 0.5
        moments = [variable("scale", 4), variable("offset", 4), variable("mean", 4)]
        hidden, *_ = v1.nn.fused_batch_norm(
            hidden, *moments, variance=variance, is_training=False, epsilon=0.001
        )
        pooled = tf.reduce_mean(tf.nn.relu6(hidden), [1, 2])
        dense(pooled, "probabilities", 4, 3, activation=tf.nn.softmax)
        with opened() as session:
            names = {"probabilities": "probabilities:0"}
            example = answer(session, names, {"image": floats(2, 8, 8, 3)})
            path = freeze(session, folder / "model.pb", "probabilities")

    return Case(path=path, examples=(example,), batchable=True)


def frozen_while_loop(folder: Path) -> Case:
    """A recurrence over time: Enter, Exit and TensorArrayV3."""
    with tf.Graph().as_default():
        signal = v1.placeholder(tf.float32, [None, 5, 3], name="signal")
        recur(signal)
        with opened() as session:
            ops = {node.op for node in session.graph_def.node}
            assert {"Enter", "Exit", "TensorArrayV3"} <= ops
            example = answer(
                session, {"states": "states:0"}, {"signal": floats(2, 5, 3)}
            )
            path = freeze(session, folder / "model.pb", "states")

    return Case(path=path, examples=(example,), batchable=True)


def recur(signal: Any) -> None:
    kernel = variable("kernel", 7, 4)
    steps = tf.transpose(signal, [1, 0, 2])
    rows = tf.TensorArray(tf.float32, 5).unstack(steps)
    start = tf.zeros([tf.shape(signal)[0], 4])

    def step(time: Any, state: Any, states: Any) -> Any:
        state = tf.tanh(tf.matmul(tf.concat([rows.read(time), state], 1), kernel))
        return time + 1, state, states.write(time, state)

    loop_state = (tf.constant(0), start, tf.TensorArray(tf.float32, 5))
    *_, states = v1.while_loop(lambda time, *_: time < 5, step, loop_state)
    tf.transpose(states.stack(), [1, 0, 2], name="states")


def frozen_training_flag(folder: Path) -> Case:
    """Dropout unless `is_training` is false; it is true by default."""
    with tf.Graph().as_default():
        pixels = v1.placeholder(tf.float32, [None, 6], name="pixels")
        flag = v1.placeholder_with_default(True, [], name="is_training")
        hidden = dense(pixels, "hidden", 6, 32, activation=tf.nn.relu)
        kept = v1.cond(flag, lambda: v1.nn.dropout(hidden, 0.5), lambda: hidden)
        dense(kept, "scores", 32, 2)
        with opened() as session:
            fixed = {"is_training:0": False}
            inputs = {"pixels": floats(3, 6)}
            example = answer(session, {"scores": "scores:0"}, inputs, fixed)
            path = freeze(session, folder / "model.pb", "scores")

    optional = {"is_training": False}
    return Case(path=path, examples=(example,), optional=optional)


def frozen_keep_prob(folder: Path) -> Case:
    """`keep_prob` and `dropout_rate`, scalars without a default."""
    with tf.Graph().as_default():
        pixels = v1.placeholder(tf.float32, [None, 6], name="pixels")
        keep = v1.placeholder(tf.float32, [], name="keep_prob")
        rate = v1.placeholder(tf.float32, [], name="dropout_rate")
        hidden = dense(pixels, "hidden", 6, 32, activation=tf.nn.relu)
        hidden = tf.nn.dropout(v1.nn.dropout(hidden, keep), rate)
        dense(hidden, "scores", 32, 2)
        with opened() as session:
            fixed = {"keep_prob:0": 1.0, "dropout_rate:0": 0.0}
            inputs = {"pixels": floats(3, 6)}
            example = answer(session, {"scores": "scores:0"}, inputs, fixed)
            path = freeze(session, folder / "model.pb", "scores")

    optional = {"keep_prob": 1.0, "dropout_rate": 0.0}
    return Case(path=path, examples=(example,), optional=optional)


def frozen_default_input(folder: Path) -> Case:
    """An optional input that isn't a flag: its own default, or the sent value."""
    with tf.Graph().as_default():
        pixels = v1.placeholder(tf.float32, [None, 6], name="pixels")
        gain = v1.placeholder_with_default(2.5, [], name="gain")
        tf.multiply(dense(pixels, "hidden", 6, 3), gain, name="scores")
        names, inputs = {"scores": "scores:0"}, {"pixels": floats(3, 6)}
        with opened() as session:
            sent = inputs | {"gain": np.array(-1.5, "float32")}
            examples = tuple(answer(session, names, each) for each in (inputs, sent))
            path = freeze(session, folder / "model.pb", "scores")

    return Case(path=path, examples=examples, optional={"gain": 2.5})


def frozen_iterator_input(folder: Path) -> Case:
    """The real input has a default that comes from an iterator's handle."""
    with tf.Graph().as_default():
        handle = v1.placeholder(tf.string, [], name="iterator_handle")
        source = v1.data.Iterator.from_string_handle(handle, tf.float32, [None, 6])
        pixels = v1.placeholder_with_default(
            source.get_next(), [None, 6], name="pixels"
        )
        dense(pixels, "scores", 6, 2)
        with opened() as session:
            inputs = {"pixels": floats(3, 6)}
            example = answer(session, {"scores": "scores:0"}, inputs)
            path = freeze(session, folder / "model.pb", "scores")

    return Case(path=path, examples=(example,), batchable=True)


def frozen_asserts_and_switches(folder: Path) -> Case:
    """Sinks that aren't outputs: an Assert, and a Switch without readers."""
    with tf.Graph().as_default():
        pixels = v1.placeholder(tf.float32, [None, 6], name="pixels")
        wide = tf.equal(tf.shape(pixels)[1], 6)
        assertion = v1.Assert(wide, ["six columns wanted", tf.shape(pixels)])
        unused = tf.raw_ops.Switch(data=pixels, pred=wide, name="unused_switch")
        dense(pixels, "scores", 6, 2)
        with opened() as session:
            example = answer(session, {"scores": "scores:0"}, {"pixels": floats(3, 6)})
            nodes = ("scores", assertion.name, unused[0].op.name)
            path = freeze(session, folder / "model.pb", *nodes)

    return Case(path=path, examples=(example,))
