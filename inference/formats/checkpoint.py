"""TensorFlow 1 checkpoints: `.meta`, `.index` and `.data` files.

The saver's operations, which may be untrusted, are never run: they only tell which
variable has which value. TensorFlow's checkpoint reader reads the values.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from inference.backend import tf, tf1
from inference.errors import InvalidModel, first_line
from inference.formats.graph.file import read_message
from inference.formats.graph.fixed_values import fix_constants
from inference.formats.graph.graphdef import (
    VARIABLES,
    check_complete,
    node_of,
    nodes_by_name,
    prune,
)
from inference.formats.graph.importing import drop_unknown
from inference.formats.graph.saver import Saved, saved_values
from inference.formats.graph.session import SessionReference, source_session
from inference.formats.graph.sidecar_signatures import default_signature, named_tensors
from inference.formats.graph.signature_discovery import discover
from inference.formats.graph.source import Source
from inference.formats.graph.tables import TABLES
from inference.formats.graph.topology import read_operations
from inference.formats.graph.variables import check_no_reference_writes, to_resources
from inference.formats.kernels.adapting import adapt
from inference.formats.kernels.rebuilding import rebuild
from inference.formats.screening.memory_bounds import check_budget, checkpoint_bytes
from inference.formats.signatureless import (
    discover_signature,
    drop_graph_defaults,
    finish_signatures,
    prune_and_screen,
    roots_of,
    signatures_of,
)
from inference.formats.training.cut import cut_training
from inference.formats.training.ends import (
    drop_metrics,
    drop_training_ends,
    drop_unsaved,
)
from inference.repository.checkpoints import incomplete

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from inference.formats.graph.signature_discovery import Found
    from inference.permissions import Permissions
    from inference.repository.sidecar import Sidecar
    from inference.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """The served part of a checkpoint: screened, with values by variable's handle."""

    graph_def: Any
    found: Found
    variables: Mapping[str, Array]


@contextmanager
def open_checkpoint(
    path: Path, sidecar: Sidecar, permissions: Permissions
) -> Iterator[Source]:
    """Read the checkpoint whose graph is `path`.

    Raise `InvalidModel` or `InvalidSidecar`.
    """
    missing = incomplete(path)

    if missing:
        raise InvalidModel(f"{path.name}: {missing}")

    meta_graph = _parse(path)
    read = _read(path, meta_graph, sidecar, permissions)
    graph_def, found = read.graph_def, read.found
    notes = [*found.notes, *drop_unknown(graph_def, _writers(meta_graph))]
    notes += adapt(graph_def, roots_of(graph_def, sidecar, found))

    with source_session() as session:
        source = Source(
            format="TF1 checkpoint",
            writer=f"TensorFlow {meta_graph.meta_info_def.tensorflow_version or '1'}",
            graph_def=graph_def,
            signatures={},
            default_signature="",
            reference=SessionReference(session),
            variables=dict(read.variables),
            notes=notes,
        )
        _rebuild(session, source)
        source.signatures.update(signatures_of(session.graph, sidecar, found))
        source.default_signature = default_signature(source.signatures, sidecar)
        source.graph_def = prune(graph_def, source.tensors())
        finish_signatures(source, session, sidecar, found)
        drop_graph_defaults(source)
        yield source


def _parse(path: Path) -> Any:
    meta_graph = tf1.MetaGraphDef()

    try:
        meta_graph.ParseFromString(read_message(path, what=path.name))
    except DecodeError as exc:
        raise InvalidModel(
            f"{path.name} isn't the graph of a checkpoint: it is damaged, truncated or "
            "another kind of file. Copy it again, or save the checkpoint again."
        ) from exc

    if not meta_graph.graph_def.node:
        raise InvalidModel(
            f"{path.name} has no graph: it was saved with write_meta_graph=False, or "
            "is truncated. Save the checkpoint again."
        )

    return meta_graph


def _writers(meta_graph: Any) -> Any:
    return meta_graph.meta_info_def.stripped_op_list.op


def _read(
    path: Path, meta_graph: Any, sidecar: Sidecar, permissions: Permissions
) -> _Read:
    graph_def = meta_graph.graph_def
    check_complete(graph_def)
    saved = saved_values(graph_def, meta_graph.saver_def)

    with _reading(path, permissions) as reader:
        graph_def = _served(meta_graph, sidecar, _unsaved(graph_def, saved, reader))
        values = _values(graph_def, saved, reader)

    variables = to_resources(graph_def, values)
    fixed = {node_of(tensor) for tensor in sidecar.constants}
    notes = cut_training(graph_def, fixed)
    found = discover_signature(graph_def, sidecar)
    found = replace(found, notes=(*notes, *found.notes))
    roots = roots_of(graph_def, sidecar, found)
    graph_def = prune_and_screen(graph_def, roots, permissions, file=path.name)
    check_no_reference_writes(graph_def)
    left = nodes_by_name(graph_def)
    kept = {name: value for name, value in variables.items() if name in left}
    return _Read(graph_def=graph_def, found=found, variables=kept)


def _served(meta_graph: Any, sidecar: Sidecar, unsaved: set[str]) -> Any:
    """Return the graph without its training and saving parts, constants fixed.

    `unsaved` are variables that the checkpoint has no value for.
    """
    graph_def, saver = meta_graph.graph_def, meta_graph.saver_def
    called = (saver.save_tensor_name, saver.restore_op_name, saver.filename_tensor_name)
    fix_constants(graph_def, sidecar)
    roots = named_tensors(sidecar, nodes_by_name(graph_def))
    configs = sidecar.signatures.values()

    # Named outputs need no discovery: the graph is pruned to them.
    if not configs or not all(each.outputs for each in configs):
        drop_training_ends(graph_def, map(node_of, called))
        operations = read_operations(graph_def)
        found = drop_metrics(operations, discover(operations))
        found = drop_unsaved(operations, found, unsaved) if unsaved else found
        roots += [*found.inputs, *found.outputs]

    graph_def = prune(graph_def, roots)
    _check_tables(graph_def)
    return graph_def


def _check_tables(graph_def: Any) -> None:
    tables = [node.name for node in graph_def.node if node.op in TABLES]

    if tables:
        raise InvalidModel(
            f"The graph has a lookup table ('{tables[0]}'), whose contents a "
            "checkpoint doesn't hold. Export a SavedModel, which does: "
            "tf.compat.v1.saved_model.simple_save."
        )


def _unsaved(graph_def: Any, saved: Mapping[str, Saved], reader: Any) -> set[str]:
    return {
        node.name
        for node in graph_def.node
        if node.op in VARIABLES and not reader.has_tensor(_saved(node, saved).key)
    }


def _values(
    graph_def: Any, saved: Mapping[str, Saved], reader: Any
) -> dict[str, Array]:
    """Return the values of the remaining variables, by node."""
    return {
        node.name: _saved(node, saved).read(reader, node)
        for node in graph_def.node
        if node.op in VARIABLES
    }


def _saved(node: Any, saved: Mapping[str, Saved]) -> Saved:
    return saved.get(node.name, Saved(key=node.name))


@contextmanager
def _reading(path: Path, permissions: Permissions) -> Iterator[Any]:
    """Yield TensorFlow's reader of the weights; turn its errors into `InvalidModel`."""
    prefix = path.with_suffix("")

    try:
        check_budget(checkpoint_bytes(prefix), permissions, file=path.name)
        yield tf.train.load_checkpoint(str(prefix))
    except (tf.errors.OpError, OSError, ValueError, RuntimeError) as exc:
        reason = first_line(exc).replace(str(path.parent), "")
        raise InvalidModel(
            f"{prefix.name}: its weights can't be read; they are damaged, truncated or "
            f"of another graph ({reason}). Copy or save the checkpoint again."
        ) from exc


def _rebuild(session: Any, source: Source) -> None:
    try:
        rebuild(session, source)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as exc:
        raise InvalidModel(
            f"TensorFlow rejects the graph: {first_line(exc)}. It is damaged, or of "
            "another version; save the checkpoint again."
        ) from exc
