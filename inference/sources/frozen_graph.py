"""Frozen GraphDef files (`.pb`), written by TensorFlow 1 or 2."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from inference.backend import tf, tf1
from inference.errors import InvalidModel, InvalidSidecar
from inference.sources import graphs
from inference.sources.declared import declared_signatures, default_signature
from inference.sources.discovery import complete, discover_signature, drop_dead
from inference.sources.nodes import become_constant
from inference.sources.optional_inputs import set_defaults
from inference.sources.screening import screen
from inference.sources.session import SessionReference, source_session
from inference.sources.source import Source
from inference.sources.tables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.permissions import Permissions
    from inference.sidecar import Sidecar
    from inference.types import Signature


@contextmanager
def open_frozen_graph(
    path: Path, sidecar: Sidecar, permissions: Permissions
) -> Iterator[Source]:
    """Read a frozen graph; raises `InvalidModel`, `InvalidSidecar`.

    Nothing of the graph is run before it was screened.
    """
    graph_def = parse(path)
    check(graph_def)
    fix_constants(graph_def, sidecar)

    with source_session(_import(graph_def)) as session:
        signatures = _signatures(session.graph, sidecar)
        source = Source(
            format="frozen graph",
            writer=f"TensorFlow, graph version {graph_def.versions.producer}",
            graph_def=graph_def,
            signatures=signatures,
            default_signature=default_signature(signatures, sidecar),
            reference=SessionReference(session),
        )
        source.graph_def = graphs.prune(graph_def, source.tensors())
        screen(source.graph_def)
        _settle(source, session, sidecar)
        feed_always(source)
        yield source


def _signatures(graph: Any, sidecar: Sidecar) -> dict[str, Signature]:
    """The sidecar's; a discovered one where it has none, or leaves something out."""
    wanted = sidecar.signatures.values()

    if sidecar.signatures and all(each.inputs and each.outputs for each in wanted):
        signatures = declared_signatures(graph, sidecar, {})
    else:
        found = {"serving_default": discover_signature(graph)}
        signatures = declared_signatures(graph, sidecar, found) or found

    return {name: complete(graph, each) for name, each in signatures.items()}


def _settle(source: Source, session: Any, sidecar: Sidecar) -> None:
    """What only running the graph can tell: defaults, and outputs without a value."""
    for name, signature in source.signatures.items():
        config = sidecar.signatures.get(name)

        if config is None or config.outputs is None:
            signature = drop_dead(session, signature, source.notes)

        source.signatures[name] = set_defaults(session, signature, source.notes)


def parse(path: Path) -> Any:
    """The GraphDef in `path`. Raises `InvalidModel` with what it is instead."""
    content = path.read_bytes()
    graph_def = tf1.GraphDef()

    try:
        graph_def.ParseFromString(content)
    except DecodeError as exc:
        if _is_saved_model(content):
            raise InvalidModel(_SAVED_MODEL.format(name=path.name)) from exc

        raise InvalidModel(
            f"{path.name} is neither HDF5, a .keras zip nor a TensorFlow graph"
            f"{_what_else(content)}. Copy or export it again."
        ) from exc

    if not graph_def.node:
        raise InvalidModel(
            _SAVED_MODEL.format(name=path.name)
            if _is_saved_model(content)
            else f"{path.name} is a graph with no nodes. The file was probably cut; "
            "copy or export it again."
        )

    return graph_def


def check(graph_def: Any) -> None:
    """Raises `InvalidModel` for a graph that is cut, foreign or not frozen."""
    graphs.check_whole(graph_def)
    graphs.check_ops(graph_def)
    variables = [node.name for node in graph_def.node if node.op in graphs.VARIABLES]

    if variables:
        raise InvalidModel(
            f"The graph isn't frozen: it has {len(variables)} variables without "
            f"values ('{variables[0]}' is one). Freeze it with "
            "convert_variables_to_constants, or serve the SavedModel it came from."
        )

    tables = [node.name for node in graph_def.node if node.op in TABLES]

    if tables:
        raise InvalidModel(
            f"The graph has a lookup table ('{tables[0]}'), whose contents a frozen "
            "graph can't hold. Serve the SavedModel it came from."
        )


def fix_constants(graph_def: Any, sidecar: Sidecar) -> None:
    """Turn the placeholders that the sidecar names into constants, in place."""
    nodes = graphs.nodes_by_name(graph_def)

    for tensor, value in sidecar.constants.items():
        node = nodes.get(graphs.node_of(tensor))

        if node is None or not node.op.startswith("Placeholder"):
            raise InvalidSidecar(
                f"it fixes '{tensor}', which is no placeholder of the graph; "
                f"the placeholders are: {', '.join(_placeholders(graph_def))}."
            )

        _fix(node, value)


def feed_always(source: Source) -> None:
    """Make defaults the runtime's affair, so that no optimiser can fold them in."""
    nodes = graphs.nodes_by_name(source.graph_def)

    for signature in source.signatures.values():
        for spec in signature.inputs.values():
            node = nodes[graphs.node_of(spec.tensor)]

            if node.op == "PlaceholderWithDefault":
                node.op = "Placeholder"
                del node.input[:]


def _fix(node: Any, value: object) -> None:
    dtype = node.attr["dtype"].type

    try:
        become_constant(node, value, dtype)
    except (TypeError, ValueError) as exc:
        wanted = tf.dtypes.as_dtype(dtype).name
        raise InvalidSidecar(
            f"it fixes '{node.name}' to {value!r}, but it wants {wanted}."
        ) from exc


def _placeholders(graph_def: Any) -> list[str]:
    return [node.name for node in graph_def.node if node.op.startswith("Placeholder")]


def _import(graph_def: Any) -> Any:
    graph = tf.Graph()

    try:
        with graph.as_default():
            tf.graph_util.import_graph_def(graph_def, name="")
    except ValueError as exc:
        raise InvalidModel(f"TensorFlow refuses the graph: {exc}") from exc

    return graph


_CHECKPOINT_KEY = b".ATTRIBUTES/VARIABLE_VALUE"
_SAVED_MODEL = (
    "{name} is the graph file of a SavedModel, not a frozen graph. Serve the folder it "
    "belongs to, with its variables/ beside it and the name saved_model.pb."
)


def _what_else(content: bytes) -> str:
    """What a file that is no graph seems to be, as the end of a sentence."""
    if b"brain.Event" in content[:64]:
        return "; it looks like a TensorBoard log"

    if _CHECKPOINT_KEY in content:
        return "; it looks like a training checkpoint: export the model itself"

    try:
        content[:1024].decode("ascii")
    except UnicodeDecodeError:
        return ": it is damaged, cut, or another kind of file"

    return "; it is text (JSON, HTML, a Git LFS pointer, or a .pbtxt to be converted)"


def _is_saved_model(content: bytes) -> bool:
    saved_model = saved_model_pb2.SavedModel()

    try:
        saved_model.ParseFromString(content)
    except DecodeError:
        return False

    return bool(saved_model.meta_graphs)
