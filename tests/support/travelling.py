"""`python -m tests.support.travelling FOLDER`: the other kind of machine.

What `FOLDER`/here was compiled by whoever started this, with oneDNN the other way
round. It is opened and asked; then the same graphs are compiled into `FOLDER`/there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import numpy as np

from inference.artifacts.artifact import Artifact
from inference.artifacts.builder import Compiled
from inference.backend import tf, tf1
from inference.limits import Limits
from inference.repository.scan import ModelFiles
from inference.runtime.loader import Loader, Prepared
from inference.runtime.servable import takes_portable
from inference.types import ModelId
from tests.support.graphs import compile_path, floats, rows, write_graph

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.artifacts.builder import ArtifactBuilder
    from inference.types import Array

SIDE, CHANNELS = 8, 32
PICTURES = floats(3, SIDE, SIDE, CHANNELS)
LIMITS = Limits(concurrency=1, intra_op_threads=1)


def hard_swish(x: Any) -> Any:
    return x * tf.nn.relu6(x + 3.0) * (1 / 6)


def mish(x: Any) -> Any:
    return x * tf.tanh(tf.nn.softplus(x))


def scaled(x: Any) -> Any:
    """A batch norm that was trained."""
    return x * np.linspace(0.5, 2, CHANNELS, dtype="f") + np.linspace(
        -1, 1, CHANNELS, dtype="f"
    )


def conv(x: Any, *, biased: bool = True) -> Any:
    kernel = floats(3, 3, CHANNELS, CHANNELS) / 10
    product = tf.nn.conv2d(x, kernel, 1, "SAME")
    return tf.nn.bias_add(product, floats(CHANNELS)) if biased else scaled(product)


def depthwise(x: Any) -> Any:
    kernel = floats(3, 3, CHANNELS, 1) / 3
    return scaled(tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME"))


def dense(x: Any, kind: Any = tf.float32) -> Any:
    flat = tf.cast(tf.reshape(x, [-1, SIDE * SIDE * CHANNELS]), kind)
    product = flat @ tf.cast(floats(SIDE * SIDE * CHANNELS, 64) / 50, kind)
    return tf.nn.bias_add(product, tf.cast(floats(64), kind))


def normalized(x: Any) -> Any:
    mean, variance = tf.nn.moments(x, [-1], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-3) * floats(CHANNELS)


GRAPHS: dict[str, Callable[[Any], Any]] = {
    "hard swish": lambda x: hard_swish(conv(x)),
    "mish": lambda x: mish(conv(x)),
    "swish": lambda x: tf.nn.silu(conv(x)),
    "bias of a batch norm": lambda x: tf.nn.relu(conv(x, biased=False)),
    "depthwise": lambda x: tf.nn.relu6(depthwise(x)),
    "sum of two": lambda x: tf.nn.relu(conv(x) + x),
    "dense": lambda x: tf.nn.elu(dense(x)),
    "exact gelu": lambda x: tf.nn.gelu(dense(x), approximate=False),
    "half precision": lambda x: tf.cast(tf.nn.gelu(dense(x, tf.float16)), tf.float32),
    "layer norm": normalized,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of an opened version, and the form of its graph that gave it."""

    y: Array
    portable: bool


def build(name: str) -> Callable[[], object]:
    def pictures() -> Any:
        x = rows("x", SIDE, SIDE, CHANNELS)
        return tf.identity(GRAPHS[name](x), name="y")

    return pictures


def truth(name: str) -> Array:
    with tf.Graph().as_default(), tf1.Session() as session:
        y = build(name)()
        given: Array = session.run(y, {"x:0": PICTURES})
        return given


def compile_all(folder: Path) -> None:
    folder.mkdir()

    for name in GRAPHS:
        path = write_graph(folder / f"{name}.pb", build(name))
        compile_path(path, folder / name)


def prepared(folder: Path) -> Prepared:
    artifact = Artifact(folder)
    manifest = artifact.read_manifest()
    return Prepared(
        files=ModelFiles(id=ModelId("m", 1), path=folder.with_suffix(".pb")),
        compiled=Compiled(artifact=artifact, manifest=manifest, fresh=False),
        limits=LIMITS,
        plans=LIMITS.plans(manifest.signatures),
    )


async def ask(version: Prepared, builder: object = None) -> Answer:
    loader = Loader(cast("ArtifactBuilder", builder), LIMITS)
    opened = await loader.open(version)

    with opened.servable as servable:
        y = servable.run("serving_default", {"x": PICTURES})["y"]
        artifact = version.compiled.artifact
        return Answer(y=y, portable=takes_portable(artifact, servable.manifest))


def main(folder: Path) -> None:
    answers = {
        name: anyio.run(ask, prepared(folder / "here" / name)).y for name in GRAPHS
    }
    (folder / "answers").mkdir()

    for name, answer in answers.items():
        np.save(folder / "answers" / f"{name}.npy", answer)

    compile_all(folder / "there")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
