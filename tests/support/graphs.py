"""Small graphs made in this process, and their compiled forms."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.artifacts.artifact import Artifact
from inference.backend import tf, tf1
from inference.compiler.compile import compile_model
from inference.formats.opening import open_source
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from inference.formats.graph.source import Source
    from inference.types import Array

    Build = Callable[[], object]


def floats(*shape: int) -> Array:
    return np.random.default_rng(5).normal(size=shape).astype("float32")


def rows(name: str, *shape: int | None, dtype: str = "float32") -> Any:
    """Return a placeholder of any number of rows."""
    return tf1.placeholder(dtype, [None, *shape], name=name)


@contextmanager
def old_control_flow() -> Iterator[None]:
    """Build loops and branches as TensorFlow 1 did: frames in the graph itself."""
    tf1.disable_control_flow_v2()

    try:
        yield
    finally:
        tf1.enable_control_flow_v2()


def write_graph(path: Path, build: Build) -> Path:
    """Write a frozen graph's file of what `build` adds to the current graph."""
    with tf.Graph().as_default() as graph:
        build()

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def write_saved_model(
    folder: Path, build: Callable[[], tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> Path:
    """Write a SavedModel of `build`'s inputs and outputs, variables initialised."""
    with tf.Graph().as_default(), tf1.Session() as session:
        inputs, outputs = build()
        session.run([tf1.global_variables_initializer(), tf1.tables_initializer()])
        sides = [
            {name: tf1.saved_model.build_tensor_info(value) for name, value in each}
            for each in (inputs.items(), outputs.items())
        ]
        definition = tf1.saved_model.build_signature_def(*sides, "predict")
        builder = tf1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={"serving_default": definition},
            main_op=tf1.tables_initializer(),
        )
        builder.save()

    return folder


def compile_path(
    path: Path,
    folder: Path,
    sidecar: Path | None = None,
    permissions: Permissions | None = None,
    *,
    warmup: Path | None = None,
) -> Artifact:
    """Return the artifact of a model, compiled in this process."""
    folder.mkdir()
    manifest = compile_model(
        path, sidecar, folder, lambda _: None, permissions=permissions, warmup=warmup
    )
    artifact = Artifact(folder)
    artifact.write_manifest(manifest)
    return artifact


def compile_graph(
    folder: Path,
    build: Build,
    sidecar: str = "",
    *,
    allow_ops: tuple[str, ...] = (),
    warmup: Path | None = None,
) -> Artifact:
    """Return the artifact, in `folder`/artifact, of the graph that `build` makes."""
    beside = folder / "model.toml"
    beside.write_text(sidecar)
    path = write_graph(folder / "model.pb", build)
    allowed = Permissions(allow_ops=allow_ops)
    return compile_path(path, folder / "artifact", beside, allowed, warmup=warmup)


@contextmanager
def source_of(folder: Path, build: Build) -> Iterator[Source]:
    with open_source(write_graph(folder / "model.pb", build), Sidecar()) as source:
        yield source
