"""The graph and weights of an artifact, written from one form of a source."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from inference.artifacts.artifact import (
    FORMAT,
    INIT,
    Artifact,
    Manifest,
    signature_entry,
)
from inference.artifacts.machine import PortableGraph
from inference.artifacts.weights import file_lengths
from inference.backend import tf, tf1
from inference.compiler.rewriting.constants import share_constants
from inference.compiler.rewriting.forms import escaping_variables
from inference.compiler.rewriting.lengths import check_lengths
from inference.compiler.weights import WeightWriter, externalize
from inference.formats.graph.graphdef import all_nodes, node_of
from inference.formats.graph.tables import fill_tables
from inference.runtime.servable import this_machine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inference.artifacts.artifact import SignatureEntry
    from inference.artifacts.weights import Weight
    from inference.compiler.rewriting.forms import GraphForm
    from inference.compiler.weights import Values
    from inference.formats.graph.source import Source
    from inference.types import Signature

CONTROL_FLOW = (
    {"Enter", "Merge", "Switch", "If", "Case", "While", "For"}
    | {f"Stateless{op}" for op in ("If", "Case", "While")}
    | {f"Ref{op}" for op in ("Enter", "Merge", "Switch")}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFile:
    """A graph as written to its own file: its content, signatures and all weights."""

    content: bytes
    signatures: dict[str, SignatureEntry]
    weights: tuple[Weight, ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def assemble(folder: Path, source: Source, form: GraphForm) -> Manifest:
    """Write the graph and its weights; return a manifest that isn't verified yet.

    Files of an earlier form are replaced. `form.graph_def` is consumed: its constants
    are moved out of it.
    """
    artifact = Artifact(folder)
    written = _write(artifact.graph, source, form, WeightWriter(artifact))
    return _manifest(source, form, written)


def add_portable(
    folder: Path, manifest: Manifest, source: Source, form: GraphForm
) -> Manifest:
    """Write the graph of a second form, which shares the weights of the first.

    Return the manifest with it. Raise `ValueError` if the form is native to this
    machine too or has other signatures.
    """
    artifact = Artifact(folder)
    writer = WeightWriter(artifact, manifest.weights)
    written = _write(artifact.portable_graph, source, form, writer)

    if is_native(form.graph_def) or _tensors(written.signatures) != _tensors(
        manifest.signatures
    ):
        raise ValueError("The form isn't one that takes the place of the first.")

    return manifest.model_copy(
        update={
            "weights": written.weights,
            "weights_bytes": sum(file_lengths(written.weights).values()),
            "portable": PortableGraph(
                optimization=form.level,
                nbytes=len(written.content),
                sha256=written.sha256,
            ),
        }
    )


def remove_portable(folder: Path, manifest: Manifest) -> None:
    """Remove the files that aren't in `manifest`, the one without a second form."""
    artifact = Artifact(folder)
    artifact.portable_graph.unlink(missing_ok=True)
    WeightWriter(artifact, manifest.weights)


def is_native(graph_def: Any) -> bool:
    """Return whether the graph has operations that TensorFlow makes only when it fuses.

    Which ones it fuses, and which fused ones it can run, depends on the machine.
    """
    return any(node.op.startswith("_") for node in all_nodes(graph_def))


def _write(
    path: Path, source: Source, form: GraphForm, writer: WeightWriter
) -> GraphFile:
    written = escaping_variables(form.graph_def)
    values = externalize(form.graph_def, form.variables, written=written)
    share_constants(form.graph_def, {node_of(name) for name in source.tensors()})
    feeds = {handle: writer.write(large) for handle, large in values.large.items()}
    graph, signatures = _build(source, form, values, feeds)
    content = check_lengths(graph).SerializeToString()

    if path.suffix == ".gz":
        # Without a time stamp equal graphs give equal files.
        content = gzip.compress(content, mtime=0)

    path.write_bytes(content)
    entries = {name: signature_entry(each) for name, each in signatures.items()}
    return GraphFile(content=content, signatures=entries, weights=tuple(writer.weights))


def _tensors(signatures: Mapping[str, SignatureEntry]) -> object:
    return {name: (each.inputs, each.outputs) for name, each in signatures.items()}


def _build(
    source: Source, form: GraphForm, values: Values, feeds: Mapping[str, Weight]
) -> tuple[Any, dict[str, Signature]]:
    graph = tf.Graph()

    with graph.as_default():
        tf.graph_util.import_graph_def(form.graph_def, name="")
        given = {each.feed: each for each in feeds.values()}
        placeholders = {name: _placeholder(each) for name, each in given.items()}
        assigns = [
            _assign(graph, handle, placeholders[weight.feed])
            for handle, weight in feeds.items()
        ]
        assigns += [
            _assign(graph, handle, tf1.constant(value))
            for handle, value in values.small.items()
        ]
        tf1.group(*assigns, *fill_tables(graph, source.tables), name=INIT)
        signatures = {
            name: _separate_outputs(graph, signature)
            for name, signature in source.signatures.items()
        }

    return graph, signatures


def _assign(graph: Any, handle: str, value: Any) -> Any:
    resource = graph.get_tensor_by_name(f"{handle}:0")
    return tf.raw_ops.AssignVariableOp(resource=resource, value=value)


def _placeholder(weight: Weight) -> Any:
    return tf1.placeholder(weight.dtype, weight.shape, name=weight.feed)


def _separate_outputs(graph: Any, signature: Signature) -> Signature:
    """Give each output that is an input a node of its own."""
    # A session can't feed and fetch the same tensor.
    fed = {spec.tensor for spec in signature.inputs.values()}
    outputs = {
        name: replace(spec, tensor=_identity(graph, spec.tensor))
        if spec.tensor in fed
        else spec
        for name, spec in signature.outputs.items()
    }
    return replace(signature, outputs=outputs)


def _identity(graph: Any, tensor: str) -> str:
    """Return an identity of `tensor`, named after it in every form of the graph."""
    name = f"tandem/passed/{tensor.replace(':', '/')}"
    operations = {each.name for each in graph.get_operations()}

    if name not in operations:
        tf.identity(graph.get_tensor_by_name(tensor), name=name)

    return f"{name}:0"


def _manifest(source: Source, form: GraphForm, written: GraphFile) -> Manifest:
    return Manifest(
        format_version=FORMAT,
        source_format=source.format,
        source_writer=source.writer,
        default_signature=source.default_signature,
        left_out=source.left_out,
        signatures=written.signatures,
        optimization=form.level,
        control_flow=any(node.op in CONTROL_FLOW for node in all_nodes(form.graph_def)),
        notes=tuple(source.notes),
        layers=source.layers,
        weights=written.weights,
        graph_bytes=len(written.content),
        graph_sha256=written.sha256,
        weights_bytes=sum(file_lengths(written.weights).values()),
        machine=this_machine(),
        native=is_native(form.graph_def),
    )
