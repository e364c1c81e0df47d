"""Writing of crafted graphs: by TensorFlow, and then changed node by node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from tests.support.graphs import rows, write_graph

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Make = Callable[[Path, Path], Path]
    Harm = Callable[[str], Any]

UNSAFE = "which is not on the list of operations that are known to be safe"


def behind_output(harm: Harm) -> Make:
    """Run `harm`, which gets the canary's path, before the output is there."""

    def make(folder: Path, canary: Path) -> Path:
        def build() -> None:
            x = rows("x", 2)

            with tf.control_dependencies([operation(harm(str(canary)))]):
                tf.identity(x, name="y")

        return write_graph(folder / "model.pb", build)

    return make


def built(build: Callable[[str], object]) -> Make:
    """Return a maker of the graph that `build` makes of the canary's path."""

    def make(folder: Path, canary: Path) -> Path:
        return write_graph(folder / "model.pb", lambda: build(str(canary)))

    return make


def edited(build: Callable[[], object], edit: Callable[[Any, str], None]) -> Make:
    """Return a maker of the graph of `build`, changed by `edit`.

    `edit` gets the canary's path too.
    """

    def make(folder: Path, canary: Path) -> Path:
        path = write_graph(folder / "model.pb", build)
        graph_def = tf1.GraphDef()
        graph_def.ParseFromString(path.read_bytes())
        edit(graph_def, str(canary))
        path.write_bytes(graph_def.SerializeToString())
        return path

    return make


def written(content: bytes) -> Make:
    def make(folder: Path, canary: Path) -> Path:
        (folder / "model.pb").write_bytes(content)
        return folder / "model.pb"

    return make


def operation(made: Any) -> Any:
    """Return the operation of a `raw_ops` result: itself, a tensor, or several."""
    first = made[0] if isinstance(made, list | tuple) else made
    return getattr(first, "op", first)


def node(graph_def: Any, name: str) -> Any:
    return next(each for each in graph_def.node if each.name == name)


def plain() -> None:
    """Build a harmless graph of one input and one output."""
    tf.identity(rows("x", 2) * 2.0, name="y")
