"""Frozen graphs with their training parts left in, and their own outputs."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf, tf1
from inference.formats.opening import open_source
from inference.repository.sidecar import read_sidecar
from tests.support.graphs import floats, old_control_flow, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from inference.formats.graph.source import Source
    from inference.types import Array

ROWS = floats(3, 4)

FLAGS: Mapping[str, Callable[[str], Any]] = {
    "placeholder": lambda name: tf1.placeholder(tf.bool, [], name),
    "without a shape": lambda name: tf1.placeholder(tf.bool, name=name),
    "true by default": lambda name: tf1.placeholder_with_default(True, [], name),
    "false by default": lambda name: tf1.placeholder_with_default(False, [], name),
    "constant true": lambda name: tf.constant(True, name=name),
    "constant false": lambda name: tf.constant(False, name=name),
}


def variable(name: str, value: float) -> Any:
    start = np.full(4, value, "float32")
    return tf1.get_variable(name, initializer=start, use_resource=False)


def normalised(x: Any, flag: Any, *, train_if: bool = True) -> Any:
    """Build a batch norm that updates its moving statistics in the training branch."""
    mean, variance = variable("mean", 0.5), variable("variance", 4.0)
    batch = tf.nn.moments(x, [0])

    def train() -> Any:
        updates = [
            tf1.assign_sub(mean, 0.1 * (mean - batch[0])),
            tf1.assign_sub(variance, 0.1 * (variance - batch[1])),
        ]

        with tf1.control_dependencies(updates):
            return [tf.identity(each) for each in batch]

    ways = (train, lambda: [tf.identity(mean), tf.identity(variance)])
    chosen = tf1.cond(flag, *(ways if train_if else reversed(ways)))
    return tf.nn.batch_normalization(x, *chosen, None, None, 1e-3)


def averaged(x: Any, flag: Any) -> Any:
    """With an exponential moving average, whose updates are AssignMovingAvg nodes."""
    batch = tf.nn.moments(x, [0])
    average = tf.train.ExponentialMovingAverage(0.9)

    def train() -> Any:
        with tf1.control_dependencies([average.apply(list(batch))]):
            return [tf.identity(each) for each in batch]

    chosen = tf1.cond(flag, train, lambda: [average.average(each) for each in batch])
    return tf.nn.batch_normalization(x, *chosen, None, None, 1e-3)


def fused(x: Any, flag: Any) -> Any:
    picture = tf.reshape(x, [-1, 1, 1, 4])
    scale, offset = variable("scale", 2.0), variable("offset", 0.3)
    mean, variance = variable("mean", 0.5), variable("variance", 4.0)

    def train() -> Any:
        given = tf1.nn.fused_batch_norm(picture, scale, offset, is_training=True)
        updates = [tf1.assign(mean, given[1]), tf1.assign(variance, given[2])]

        with tf1.control_dependencies(updates):
            return tf.identity(given[0])

    def infer() -> Any:
        return tf1.nn.fused_batch_norm(
            picture, scale, offset, mean, variance, is_training=False
        )[0]

    return tf.reshape(tf1.cond(flag, train, infer), [-1, 4])


def nested(x: Any, flag: Any) -> Any:
    """Build a training branch inside one that the values select."""
    return tf1.cond(
        tf.reduce_sum(x) < 1000, lambda: normalised(x, flag) * 2.0, lambda: x
    )


def write_trained(
    path: Path, build: Callable[[Any], Any], feeds: Mapping[str, object] | None = None
) -> Array:
    """Freeze the operation that `build` makes; return its outputs with `feeds`."""
    with old_control_flow(), tf.Graph().as_default(), tf1.Session() as session:
        # The variables of an average are made as this says.
        with tf1.variable_scope("", use_resource=False):
            tf.identity(build(rows("x", 4)), name="result")

        session.run(tf1.global_variables_initializer())
        frozen = tf1.graph_util.convert_variables_to_constants(
            session, session.graph_def, ["result"]
        )
        fed = {f"{name}:0": value for name, value in (feeds or {}).items()}
        right = session.run("result:0", {"x:0": ROWS, **fed})

    path.write_bytes(frozen.SerializeToString())
    return np.asarray(right)


@contextmanager
def opened(folder: Path, sidecar: str = "") -> Iterator[Source]:
    (folder / "model.toml").write_text(sidecar)

    with open_source(
        folder / "model.pb", read_sidecar(folder / "model.toml")
    ) as source:
        yield source


def defaults(source: Source) -> dict[str, object]:
    return {
        name: spec.default.item() if spec.default is not None else None
        for name, spec in source.signatures["serving_default"].inputs.items()
    }


def answer(source: Source, **sent: object) -> Array:
    signature = source.signatures["serving_default"]
    inputs = {
        name: spec.default
        for name, spec in signature.inputs.items()
        if spec.default is not None
    }
    fed = {name: np.asarray(value) for name, value in sent.items()}
    return source.reference(signature, {"x": ROWS, **inputs, **fed})["result"]
