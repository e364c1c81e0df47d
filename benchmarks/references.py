"""What small models answer in their own frameworks; to be called in a child process."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from benchmarks.models import rows_for

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array

INPUT_SIZE = 32
VARIETY = 120

Reference: TypeAlias = tuple[list[list[float]], list[float]]
"""Rows of a request, and the one number that each must give."""


def answer_pair(files: dict[str, Path]) -> dict[str, list[Reference]]:
    """Requests of one to three rows, and answers, for the models of `write_pair`."""
    rows = rows_for((INPUT_SIZE,), 2 * VARIETY)
    answers = {
        "dense": _ask_keras(files["dense"], rows),
        "graph": _ask_session(files["graph"], rows),
    }
    return {name: _split(rows, values) for name, values in answers.items()}


def answer_rows(path: Path, rows: Array) -> Array:
    """What the `.h5` at `path` answers to `rows`, in Keras."""
    return _ask_keras(path, rows)


def _split(rows: Array, values: Array) -> list[Reference]:
    starts: list[int] = [0]
    sizes: list[int] = []

    while starts[-1] < len(rows):
        sizes.append(min(1 + len(sizes) % 3, len(rows) - starts[-1]))
        starts.append(starts[-1] + sizes[-1])

    spans = zip(starts, sizes, strict=False)
    return [
        (rows[at : at + size].tolist(), values[at : at + size, 0].tolist())
        for at, size in spans
    ]


def _ask_keras(path: Path, rows: Array) -> Array:
    import keras

    answers: Array = keras.models.load_model(path, compile=False)(rows).numpy()
    return answers


def _ask_session(path: Path, rows: Array) -> Array:
    import tensorflow as tf

    graph_def = tf.compat.v1.GraphDef.FromString(path.read_bytes())

    with tf.Graph().as_default() as graph, tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name="")
        given = graph.get_tensor_by_name("values:0")
        answers: Array = session.run("Identity:0", {given: rows})
        return answers
