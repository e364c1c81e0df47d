"""Frozen GraphDef files (`.pb`), written by TensorFlow 1 or 2."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidModel, InvalidSidecar
from inference.reasons import first_line
from inference.sources import graphs
from inference.sources.control_flow import SWITCHES, origin
from inference.sources.declared import (
    declared_signatures,
    default_signature,
    named_tensors,
)
from inference.sources.discovery import (
    Found,
    complete,
    discover,
    drop_dead,
    found_signature,
)
from inference.sources.graph_file import parse
from inference.sources.importing import drop_unknown, import_graph
from inference.sources.kernels.adapting import adapt
from inference.sources.nodes import PIPELINE, become_constant, cut_pipelines
from inference.sources.optional_inputs import set_defaults
from inference.sources.row_counts import COUNTED, count_rows, find_row_counts
from inference.sources.screening import screen, untie
from inference.sources.session import SessionReference, source_session
from inference.sources.source import Source
from inference.sources.tables import TABLES
from inference.sources.training import values_by_use
from inference.sources.training_cut import settle_training
from inference.sources.wiring import operations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from inference.permissions import Permissions
    from inference.sidecar import Sidecar
    from inference.sources.wiring import Operation
    from inference.types import Signature


@contextmanager
def open_frozen_graph(
    path: Path, sidecar: Sidecar, permissions: Permissions
) -> Iterator[Source]:
    """Read a frozen graph; raises `InvalidModel`, `InvalidSidecar`.

    Nothing of the graph is run before it was screened.
    """
    graph_def, found = read_graph(path, sidecar, permissions)
    passed_over = drop_unknown(graph_def)
    adapted = adapt(graph_def, _roots(graph_def, sidecar, found))

    with source_session(_import(graph_def)) as session:
        signatures = _signatures(session.graph, sidecar, found)
        source = Source(
            format="frozen graph",
            writer=f"TensorFlow, graph version {graph_def.versions.producer}",
            graph_def=graph_def,
            signatures=signatures,
            default_signature=default_signature(signatures, sidecar),
            reference=SessionReference(session),
            notes=[*found.notes, *passed_over, *adapted],
        )
        source.graph_def = graphs.prune(graph_def, source.tensors())
        _settle(source, session, sidecar, found)
        feed_always(source)
        yield source


def read_graph(
    path: Path, sidecar: Sidecar, permissions: Permissions
) -> tuple[Any, Found]:
    """What of the graph in `path` is served, screened; and what was discovered.

    TensorFlow hasn't imported it. Raises `InvalidModel`, `InvalidSidecar`.
    """
    graph_def = parse(path)
    graphs.check_whole(graph_def)
    fix_constants(graph_def, sidecar)
    fixed = {graphs.node_of(tensor) for tensor in sidecar.constants}
    notes = settle_training(graph_def, fixed)
    check(graph_def)
    found = _discovered(graph_def, sidecar)
    found = replace(found, notes=(*notes, *found.notes))
    roots = _roots(graph_def, sidecar, found)
    return _screened(graph_def, roots, permissions, file=path.name), found


def _screened(
    graph_def: Any, roots: Iterable[str], permissions: Permissions, *, file: str
) -> Any:
    """A copy with only what `roots` need, which is safe to import and to run."""
    pruned = graphs.prune(graph_def, roots)
    cut_pipelines(pruned, {node.name for node in pruned.node})
    pruned = graphs.prune(pruned, roots)
    screen(pruned, permissions, file=file, also=PIPELINE)
    untie(pruned)
    return pruned


def _discovered(graph_def: Any, sidecar: Sidecar) -> Found:
    """What the sidecar doesn't say of inputs and outputs, and what they mean."""
    wired = operations(graph_def)
    values = values_by_use(wired, graph_def.library)
    configs = sidecar.signatures.values()

    if configs and all(each.inputs and each.outputs for each in configs):
        return Found(values=values)

    found = _counted(graph_def, wired, replace(discover(wired), values=values))

    if configs and all(each.outputs for each in configs):
        found = replace(found, outputs=())

    return found


def _counted(graph_def: Any, wired: list[Operation], found: Found) -> Found:
    """Let the graph count its rows, in place, where that is an input."""
    counts = find_row_counts(wired, found.inputs)
    count_rows(graph_def, counts)
    return replace(
        found,
        values={**found.values, **{each.tensor: COUNTED for each in counts}},
        notes=(*found.notes, *(each.note() for each in counts)),
    )


def _roots(graph_def: Any, sidecar: Sidecar, found: Found) -> list[str]:
    """All tensors that the signatures are made of."""
    named = named_tensors(sidecar, graphs.nodes_by_name(graph_def))
    return [*named, *found.inputs, *found.outputs]


def _signatures(graph: Any, sidecar: Sidecar, found: Found) -> dict[str, Signature]:
    """The sidecar's; a discovered one where it has none, or leaves something out."""
    known = {"serving_default": found_signature(graph, found)}
    declared = declared_signatures(
        graph, sidecar, known if found.inputs or found.outputs else {}
    )
    return {
        name: complete(graph, each, found.values)
        for name, each in (declared or known).items()
    }


def _settle(source: Source, session: Any, sidecar: Sidecar, found: Found) -> None:
    """What only running the graph can tell: defaults, and outputs without a value."""
    for name, signature in source.signatures.items():
        config = sidecar.signatures.get(name)

        if config is None or config.outputs is None:
            signature = drop_dead(session, signature, found.values, source.notes)

        source.signatures[name] = set_defaults(
            session, signature, found.values, source.notes
        )


def check(graph_def: Any) -> None:
    """Raises `InvalidModel` for a graph that isn't frozen."""
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
    """Turn what the sidecar gives values to into constants, in place.

    Placeholders, and booleans that steer branches.
    """
    nodes = graphs.nodes_by_name(graph_def)

    for tensor, value in sidecar.constants.items():
        node = nodes.get(graphs.node_of(tensor))

        if node is not None and node.op.startswith("Placeholder"):
            _fix(node, value, node.attr["dtype"].type)
        elif node is not None and node.name in _steering(graph_def):
            _fix(node, value, tf.bool.as_datatype_enum)
        else:
            raise InvalidSidecar(
                f"it fixes '{tensor}', which is no placeholder of the graph; "
                f"the placeholders are: {', '.join(_placeholders(graph_def))}."
            )


def _steering(graph_def: Any) -> set[str]:
    return {
        origin(operation.inputs[1])[0].op.name
        for operation in operations(graph_def)
        if operation.type in SWITCHES and len(operation.inputs) > 1
    }


def feed_always(source: Source) -> None:
    """Make defaults the runtime's affair, so that no optimiser can fold them in."""
    nodes = graphs.nodes_by_name(source.graph_def)

    for signature in source.signatures.values():
        for spec in signature.inputs.values():
            node = nodes[graphs.node_of(spec.tensor)]

            if node.op == "PlaceholderWithDefault":
                node.op = "Placeholder"
                del node.input[:]


def _fix(node: Any, value: object, dtype: int) -> None:
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
        import_graph(graph, graph_def)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as exc:
        raise InvalidModel(
            f"TensorFlow refuses the graph: {first_line(exc)}. It is damaged, or of "
            "another version; copy or export it again."
        ) from exc

    return graph
