"""Signatures of graphs that declare none: the served part, and its names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidModel, first_line
from inference.formats.graph.dead_outputs import drop_dead
from inference.formats.graph.graphdef import node_of, nodes_by_name, prune
from inference.formats.graph.importing import import_graph
from inference.formats.graph.nodes import PIPELINE, cut_pipelines
from inference.formats.graph.optional_inputs import set_defaults
from inference.formats.graph.row_counts import COUNTED, count_rows, find_row_counts
from inference.formats.graph.sidecar_signatures import (
    declared_signatures,
    named_tensors,
)
from inference.formats.graph.signature_discovery import (
    Found,
    add_needed_inputs,
    discover,
    found_signature,
)
from inference.formats.graph.topology import read_operations
from inference.formats.graph.value_hints import hints_of
from inference.formats.screening.graph import clear_placement, screen
from inference.formats.training.switches import values_by_use
from inference.inputs.samples import candidates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.formats.graph.source import Source
    from inference.formats.graph.topology import Operation
    from inference.permissions import Permissions
    from inference.repository.sidecar import Sidecar
    from inference.types import Signature


def prune_and_screen(
    graph_def: Any, roots: Iterable[str], permissions: Permissions, *, file: str
) -> Any:
    """Return a copy with only what `roots` need, safe to import and to run."""
    pruned = prune(graph_def, roots)
    cut_pipelines(pruned, {node.name for node in pruned.node})
    # Cutting pipelines leaves their iterators and queues without readers.
    pruned = prune(pruned, roots)
    screen(pruned, permissions, file=file, also=PIPELINE)
    clear_placement(pruned)
    return pruned


def discover_signature(graph_def: Any, sidecar: Sidecar) -> Found:
    """Return the inputs and outputs that the sidecar doesn't declare, and values."""
    operations = read_operations(graph_def)
    values = values_by_use(operations, graph_def.library)
    configs = sidecar.signatures.values()

    if configs and all(each.inputs and each.outputs for each in configs):
        return Found(values=values)

    found = _counted(
        graph_def, operations, replace(discover(operations), values=values)
    )

    if configs and all(each.outputs for each in configs):
        found = replace(found, outputs=())

    return found


def _counted(graph_def: Any, operations: list[Operation], found: Found) -> Found:
    """Let the graph count its rows, in place, if their number is an input."""
    counts = find_row_counts(operations, found.inputs)
    count_rows(graph_def, counts)
    return replace(
        found,
        values={**found.values, **{each.tensor: COUNTED for each in counts}},
        notes=(*found.notes, *(each.note() for each in counts)),
    )


def roots_of(graph_def: Any, sidecar: Sidecar, found: Found) -> list[str]:
    """Return all tensors that the signatures are made of."""
    named = named_tensors(sidecar, nodes_by_name(graph_def))
    return [*named, *found.inputs, *found.outputs]


def signatures_of(graph: Any, sidecar: Sidecar, found: Found) -> dict[str, Signature]:
    """Return the sidecar's signatures, completed by a discovered one."""
    known = {"serving_default": found_signature(graph, found)}
    declared = declared_signatures(
        graph, sidecar, known if found.inputs or found.outputs else {}
    )
    return {
        name: add_needed_inputs(graph, each, found.values)
        for name, each in (declared or known).items()
    }


def finish_signatures(
    source: Source, session: Any, sidecar: Sidecar, found: Found
) -> None:
    """Add what only a run can tell: defaults, and outputs without a value."""
    for name, signature in source.signatures.items():
        config = sidecar.signatures.get(name)

        if config is None or config.outputs is None:
            whole = set_defaults(session, signature, found.values, [])
            hints = hints_of(source.graph_def, whole)
            made = list(candidates(whole, hints=hints))
            signature = drop_dead(session, signature, made, source.notes)

        source.signatures[name] = set_defaults(
            session, signature, found.values, source.notes
        )


def drop_graph_defaults(source: Source) -> None:
    """Turn placeholders with a default into plain ones, in place."""
    # The runtime always feeds defaults; left in the graph, an optimiser could fold them
    # in.
    nodes = nodes_by_name(source.graph_def)

    for signature in source.signatures.values():
        for spec in signature.inputs.values():
            node = nodes[node_of(spec.tensor)]

            if node.op == "PlaceholderWithDefault":
                node.op = "Placeholder"
                del node.input[:]


def import_graph_def(graph_def: Any) -> Any:
    """Return the imported graph. Raise `InvalidModel` if TensorFlow rejects it."""
    graph = tf.Graph()

    try:
        import_graph(graph, graph_def)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as exc:
        raise InvalidModel(
            f"TensorFlow rejects the graph: {first_line(exc)}. It is damaged, or of "
            "another version; copy or export it again."
        ) from exc

    return graph
