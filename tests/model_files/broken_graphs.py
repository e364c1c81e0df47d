"""`.pb` files that are truncated, empty, not graphs, or not ready to be served."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

v1 = tf.compat.v1
ONES = np.ones((6, 3), "float32")


def graph(build: Callable[[], object]) -> Any:
    with tf.Graph().as_default() as made:
        build()

    return made.as_graph_def()


def dense() -> None:
    pixels = v1.placeholder(tf.float32, [None, 6], name="pixels")
    tf.nn.softmax(tf.matmul(pixels, ONES, name="sums"), name="scores")


def written(folder: Path, made: Any) -> Path:
    data = made if isinstance(made, bytes) else made.SerializeToString()
    (folder / "model.pb").write_bytes(data)
    return folder / "model.pb"


def pb_empty(folder: Path) -> Path:
    """Write zero bytes: a valid protobuf without nodes."""
    return written(folder, b"")


def pb_without_nodes(folder: Path) -> Path:
    """Write versions and no node."""
    return written(folder, graph(lambda: None))


def pb_garbage(folder: Path) -> Path:
    return written(folder, random.Random(3).randbytes(4096))


def pb_text(folder: Path) -> Path:
    """Write a page that a failed download left."""
    return written(folder, b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n")


def pb_json(folder: Path) -> Path:
    return written(folder, json.dumps({"model": "none"}).encode())


def pb_cut_at_a_node(folder: Path) -> Path:
    """Remove the first nodes: the rest need inputs that are missing."""
    whole = graph(dense)
    kept = [node for node in whole.node if node.name != "pixels"]
    del whole.node[:]
    whole.node.extend(kept)
    return written(folder, whole)


def pb_cut_before_its_weights(folder: Path) -> Path:
    """Write nodes in their order, the last ones missing."""
    whole = graph(dense)
    kept = [node for node in whole.node if node.op != "Const"]
    del whole.node[:]
    whole.node.extend(kept)
    return written(folder, whole)


def pb_cut_in_a_node(folder: Path) -> Path:
    data = graph(dense).SerializeToString()
    return written(folder, data[: len(data) // 2])


def pb_only_constants(folder: Path) -> Path:
    return written(folder, graph(lambda: tf.constant(ONES) * 2.0))


def pb_with_variables(folder: Path) -> Path:
    """Write a graph before its variables became constants."""

    def build() -> None:
        pixels = v1.placeholder(tf.float32, [None, 6], name="pixels")
        kernel = v1.get_variable("kernel", (6, 3), use_resource=False)
        tf.matmul(pixels, kernel, name="scores")

    return written(folder, graph(build))


def pb_with_resource_variables(folder: Path) -> Path:
    def build() -> None:
        pixels = v1.placeholder(tf.float32, [None, 6], name="pixels")
        kernel = v1.get_variable("kernel", (6, 3), use_resource=True)
        tf.matmul(pixels, kernel.read_value(), name="scores")

    return written(folder, graph(build))


def pb_unknown_op(folder: Path) -> Path:
    """Use an op of a library that isn't loaded."""
    whole = graph(dense)
    next(node for node in whole.node if node.name == "scores").op = "FancyPooling"
    return written(folder, whole)


def pb_reads_a_file(folder: Path) -> Path:
    """Use a node that reads the file that the client names."""

    def build() -> None:
        name = v1.placeholder(tf.string, [], name="name")
        tf.io.read_file(name, name="content")

    return written(folder, graph(build))


def pb_checkpoint(folder: Path) -> Path:
    """Write a checkpoint's data under a model's name."""
    kernel = tf.Variable(ONES)
    written_to = tf.train.Checkpoint(kernel=kernel).write(str(folder / "part"))
    data = (folder / "part.data-00000-of-00001").read_bytes()
    for file in folder.glob(f"{written_to.rsplit('/', 1)[-1]}*"):
        file.unlink()

    return written(folder, data)


def pb_events(folder: Path) -> Path:
    """Write a TensorBoard log under a model's name."""
    event = v1.Event(wall_time=1.0, file_version="brain.Event:2")
    with tf.io.TFRecordWriter(str(folder / "model.pb")) as writer:
        writer.write(event.SerializeToString())

    return folder / "model.pb"


def sidecar(folder: Path, text: str) -> Path:
    (folder / "model.toml").write_text(text)
    return written(folder, graph(dense))


def sidecar_unknown_tensor(folder: Path) -> Path:
    text = '[signatures.serving_default]\noutputs = { scores = "probs:0" }\n'
    return sidecar(folder, text)


def sidecar_unknown_constant(folder: Path) -> Path:
    return sidecar(folder, "[constants]\nkeep_probability = 1.0\n")


def sidecar_unknown_default(folder: Path) -> Path:
    return sidecar(folder, 'default_signature = "predict_images"\n')


def sidecar_syntax_error(folder: Path) -> Path:
    return sidecar(folder, "[signatures.serving_default\ninputs = x\n")


def sidecar_unknown_key(folder: Path) -> Path:
    return sidecar(folder, '[signature.serving_default]\ninputs = ["pixels"]\n')


def sidecar_wrong_type(folder: Path) -> Path:
    return sidecar(folder, "[signatures.serving_default]\ninputs = 3\n")
