"""Writes an artifact's graph and weights from one form of a source."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.artifact import (
    FORMAT,
    INIT,
    Artifact,
    Manifest,
    signature_entry,
)
from inference.backend import tf, tf1
from inference.compiler.constants import share_constants
from inference.compiler.optimization import escaping_variables
from inference.compiler.weights import WeightWriter, externalize
from inference.sources.graphs import all_nodes, node_of
from inference.sources.tables import fill_tables
from inference.weight_files import file_lengths

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from inference.compiler.optimization import Form
    from inference.compiler.weights import Values
    from inference.sources.source import Source
    from inference.types import Signature
    from inference.weight_files import Weight

CONTROL_FLOW = (
    {"Enter", "Merge", "Switch", "If", "Case", "While", "For"}
    | {f"Stateless{op}" for op in ("If", "Case", "While")}
    | {f"Ref{op}" for op in ("Enter", "Merge", "Switch")}
)


def assemble(folder: Path, source: Source, form: Form) -> Manifest:
    """Write the graph and its weights; returns a manifest that isn't checked yet.

    What another form has left there is replaced. `form.graph_def` is consumed: its
    constants are taken out of it.
    """
    artifact = Artifact(folder)
    written = escaping_variables(form.graph_def)
    values = externalize(form.graph_def, form.variables, written=written)
    share_constants(form.graph_def, {node_of(name) for name in source.tensors()})
    writer = WeightWriter(artifact)
    feeds = {handle: writer.write(large) for handle, large in values.large.items()}
    graph, signatures = _build(source, form, values, feeds)
    content = graph.as_graph_def().SerializeToString()
    artifact.graph.write_bytes(content)
    return _manifest(source, form, writer.weights, signatures, content)


def _build(
    source: Source, form: Form, values: Values, feeds: Mapping[str, Weight]
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
            name: _pass_through(graph, signature)
            for name, signature in source.signatures.items()
        }

    return graph, signatures


def _assign(graph: Any, handle: str, value: Any) -> Any:
    resource = graph.get_tensor_by_name(f"{handle}:0")
    return tf.raw_ops.AssignVariableOp(resource=resource, value=value)


def _placeholder(weight: Weight) -> Any:
    return tf1.placeholder(weight.dtype, weight.shape, name=weight.feed)


def _pass_through(graph: Any, signature: Signature) -> Signature:
    """An output that is an input gets a node: no tensor is both fed and fetched."""
    fed = {spec.tensor for spec in signature.inputs.values()}
    outputs = {
        name: replace(
            spec, tensor=tf.identity(graph.get_tensor_by_name(spec.tensor)).name
        )
        if spec.tensor in fed
        else spec
        for name, spec in signature.outputs.items()
    }
    return replace(signature, outputs=outputs)


def _manifest(
    source: Source,
    form: Form,
    weights: list[Weight],
    signatures: dict[str, Signature],
    content: bytes,
) -> Manifest:
    return Manifest(
        format_version=FORMAT,
        source_format=source.format,
        source_writer=source.writer,
        default_signature=source.default_signature,
        left_out=source.left_out,
        signatures={name: signature_entry(each) for name, each in signatures.items()},
        optimization=form.level,
        control_flow=any(node.op in CONTROL_FLOW for node in all_nodes(form.graph_def)),
        notes=tuple(source.notes),
        weights=tuple(weights),
        graph_bytes=len(content),
        graph_sha256=hashlib.sha256(content).hexdigest(),
        weights_bytes=sum(file_lengths(weights).values()),
    )
