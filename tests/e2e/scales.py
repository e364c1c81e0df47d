"""Frozen graphs that multiply by a number, which tells the file from an answer.

Others return what they get.

`python -m tests.e2e.scales CACHE FILE...` compiles files into a cache, in one process
because TensorFlow takes seconds to start.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference.artifacts.cache import ArtifactCache, artifact_key
from inference.backend import tf, tf1
from inference.compiler.compile import compile_model
from inference.permissions import Permissions
from inference.repository.digest import digest_source
from inference.repository.sidecar import Sidecar
from tests import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterable


def write_scale(path: Path, factor: int, *, weights_bytes: int = 16) -> Path:
    """Write a model that returns `factor` times its input, if that isn't negative."""
    table = np.random.default_rng(factor).random(weights_bytes // 4, np.float32)
    table[0] = factor

    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None], name="x")
        first = tf.minimum(tf.cast(x, tf.int32), 0)
        tf.multiply(x, tf.gather(tf.constant(table), first), name="y")

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


IDENTITIES = (
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64", "bfloat16", "string"),
)


def write_identity(path: Path) -> Path:
    """Write a model that returns its inputs, one of each dtype and of any shape."""
    with tf.Graph().as_default() as graph:
        for dtype in IDENTITIES:
            tf.identity(tf1.placeholder(dtype, None, name=dtype), name=f"{dtype}_out")

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def write_words(path: Path) -> Path:
    """Write a model that returns rows of strings as they come."""
    with tf.Graph().as_default() as graph:
        words = tf1.placeholder("string", [None, 2], name="words")
        tf.identity(words, name="words_out")

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def write_pairs(path: Path) -> Path:
    """Write a model that adds pairs; its input is called as a list's method is."""
    with tf.Graph().as_default() as graph:
        pairs = tf1.placeholder(tf.float32, [None, 2], name="values")
        tf.reduce_sum(pairs, 1, name="sum")

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def write_halves(path: Path) -> Path:
    """Write a model of small drawings: the ink above and below, and the drawing."""
    with tf.Graph().as_default() as graph:
        drawing = tf1.placeholder(tf.float32, [None, 8, 8], name="drawing")
        above, below = (
            tf.reduce_sum(half, [1, 2]) for half in tf.split(drawing, 2, axis=1)
        )
        tf.stack([above, below], axis=1, name="ink")
        tf.identity(drawing, name="copy")

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def write_colours(path: Path) -> Path:
    """Write a model of small images: how red, green and blue each is, 0 to 1."""
    with tf.Graph().as_default() as graph:
        image = tf1.placeholder(tf.uint8, [None, 4, 4, 3], name="image")
        tf.reduce_mean(tf.cast(image, tf.float32) / 255.0, [1, 2], name="colours")

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def compile_ahead(cache: Path, paths: Iterable[Path]) -> None:
    """Compile `paths` into `cache`, where a server finds them."""
    command = [sys.executable, "-m", "tests.e2e.scales", str(cache)]
    subprocess.run([*command, *map(str, paths)], cwd=PROJECT, check=True)


def main(cache: Path, paths: Iterable[Path]) -> None:
    artifacts = ArtifactCache(cache)
    shaping = Sidecar().shaping() + Permissions().shaping()

    for path in paths:
        key = artifact_key(digest_source(path), shaping)

        with artifacts.scratch() as folder:
            manifest = compile_model(path, None, folder, lambda _: None)
            artifacts.publish(folder, key, manifest)


if __name__ == "__main__":
    main(Path(sys.argv[1]), map(Path, sys.argv[2:]))
