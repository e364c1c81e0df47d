"""Writing of crafted SavedModels: a good one, then changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.core.protobuf import saved_model_pb2

from inference.backend import tf, tf1
from tests.support.graphs import rows, write_saved_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.crafted.graph_files import Make

    Edit = Callable[[Any, str], None]

PB = "saved_model.pb"


def good(folder: Path) -> Path:
    """Write a TF1 export of one variable; its saver is in the graph itself."""

    def build() -> tuple[dict[str, Any], dict[str, Any]]:
        x = rows("x", 2)
        gain = tf1.get_variable("gain", (2,), use_resource=True)
        return {"x": x}, {"y": tf.identity(x * gain, name="y")}

    return write_saved_model(folder / "model", build)


def modern(folder: Path) -> Path:
    """Write a TF2 export of a variable and of a table that an asset fills."""
    words = folder / "words.txt"
    words.write_text("a\nb\n")
    whole, line = (
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    module = tf.Module()
    start = tf.lookup.TextFileInitializer(str(words), tf.string, whole, tf.int64, line)
    module.table = tf.lookup.StaticHashTable(start, -1)
    module.gain = tf.Variable([2, 3], dtype=tf.int64)
    module.call = tf.function(lambda x: {"y": module.table.lookup(x) * module.gain[0]})
    spec = tf.TensorSpec([None], "string", name="x")
    signature = module.call.get_concrete_function(spec)
    tf.saved_model.save(module, str(folder / "model"), signatures=signature)
    words.unlink()
    return folder / "model"


def edited(edit: Edit, make: Callable[[Path], Path] = good) -> Make:
    """Return a maker whose `edit` changes the meta graph, with the canary's path."""

    def made(folder: Path, canary: Path) -> Path:
        path = make(folder)
        saved = saved_model_pb2.SavedModel()
        saved.ParseFromString((path / PB).read_bytes())
        edit(saved.meta_graphs[0], str(canary))
        (path / PB).write_bytes(saved.SerializeToString())
        return path

    return made


def beside(change: Callable[[Path, Path], None]) -> Make:
    """Return a maker whose `change` adds to or removes from a good model's folder."""

    def made(folder: Path, canary: Path) -> Path:
        path = good(folder)
        change(path, canary)
        return path

    return made


def text(nodes: Any, name: str, value: str) -> Any:
    """Add a constant of one string."""
    added = nodes.add(name=name, op="Const")
    added.attr["dtype"].type = tf.string.as_datatype_enum
    added.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return added


def write_node(nodes: Any, canary: str, *, inside: bool = False) -> str:
    """Add a node that writes the canary; return its name.

    `inside` a function outputs have names.
    """
    text(nodes, "song/path", canary)
    text(nodes, "song/text", "sung")
    ends = ("path:output:0", "text:output:0") if inside else ("path", "text")
    nodes.add(name="song", op="WriteFile", input=[f"song/{end}" for end in ends])
    return "song"


def node(meta_graph: Any, name: str) -> Any:
    return next(each for each in meta_graph.graph_def.node if each.name == name)


def body(meta_graph: Any, part: str) -> Any:
    """Return the function whose name has `part` in it."""
    functions = meta_graph.graph_def.library.function
    return next(each for each in functions if part in each.signature.name)
