"""GraphDef files: parsing, and what a file is that can't be parsed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from inference.backend import tf1
from inference.errors import InvalidModel

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 2**31


def read_message(path: Path, *, what: str) -> bytes:
    """Return the content of a protobuf file. Raise `InvalidModel` if too large."""
    size = path.stat().st_size

    if size >= MAX_BYTES:
        raise InvalidModel(
            f"{what} has {size / 2**30:.1f} GiB, and no graph file can have 2 GiB. "
            "Export the model as a SavedModel, which keeps its weights apart."
        )

    return path.read_bytes()


def parse(path: Path) -> Any:
    """Return the GraphDef in `path`. Raise `InvalidModel` if it is something else."""
    content = read_message(path, what=path.name)
    graph_def = tf1.GraphDef()

    try:
        graph_def.ParseFromString(content)
    except DecodeError as exc:
        if _is_saved_model(content):
            raise InvalidModel(_SAVED_MODEL.format(name=path.name)) from exc

        raise InvalidModel(
            f"{path.name} is neither HDF5, a .keras zip nor a TensorFlow graph"
            f"{_describe(content)}. Copy or export it again."
        ) from exc

    # A SavedModel may parse as a GraphDef without nodes.
    if not graph_def.node:
        raise InvalidModel(
            _SAVED_MODEL.format(name=path.name)
            if _is_saved_model(content)
            else f"{path.name} is a graph with no nodes. The file is probably "
            "truncated; copy or export it again."
        )

    return graph_def


_CHECKPOINT_KEY = b".ATTRIBUTES/VARIABLE_VALUE"
_SAVED_MODEL = (
    "{name} is the graph file of a SavedModel, not a frozen graph. Serve the folder it "
    "belongs to, with its variables/ beside it and the name saved_model.pb."
)


def _describe(content: bytes) -> str:
    """Return what a file that isn't a graph seems to be, as the end of a sentence."""
    if b"brain.Event" in content[:64]:
        return "; it looks like a TensorBoard log"

    if _CHECKPOINT_KEY in content:
        return "; it looks like a training checkpoint: export the model itself"

    try:
        content[:1024].decode("ascii")
    except UnicodeDecodeError:
        return ": it is damaged, truncated, or another kind of file"

    return "; it is text (JSON, HTML, a Git LFS pointer, or a .pbtxt to be converted)"


def _is_saved_model(content: bytes) -> bool:
    saved_model = saved_model_pb2.SavedModel()

    try:
        saved_model.ParseFromString(content)
    except DecodeError:
        return False

    return bool(saved_model.meta_graphs)
