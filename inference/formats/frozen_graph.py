"""Frozen GraphDef files (`.pb`), written by TensorFlow 1 or 2."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.graph.file import parse
from inference.formats.graph.fixed_values import fix_constants
from inference.formats.graph.graphdef import VARIABLES, check_complete, node_of, prune
from inference.formats.graph.importing import drop_unknown
from inference.formats.graph.session import SessionReference, source_session
from inference.formats.graph.sidecar_signatures import default_signature
from inference.formats.graph.source import Source
from inference.formats.graph.tables import TABLES
from inference.formats.kernels.adapting import adapt
from inference.formats.signatureless import (
    discover_signature,
    drop_graph_defaults,
    finish_signatures,
    import_graph_def,
    prune_and_screen,
    roots_of,
    signatures_of,
)
from inference.formats.training.cut import cut_training

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.formats.graph.signature_discovery import Found
    from inference.permissions import Permissions
    from inference.repository.sidecar import Sidecar


@contextmanager
def open_frozen_graph(
    path: Path, sidecar: Sidecar, permissions: Permissions
) -> Iterator[Source]:
    """Read a frozen graph. Raise `InvalidModel` or `InvalidSidecar`.

    No part of the graph is run before it was screened.
    """
    graph_def, found = read_graph(path, sidecar, permissions)
    passed_over = drop_unknown(graph_def)
    adapted = adapt(graph_def, roots_of(graph_def, sidecar, found))

    with source_session(import_graph_def(graph_def)) as session:
        signatures = signatures_of(session.graph, sidecar, found)
        source = Source(
            format="frozen graph",
            writer=f"TensorFlow, graph version {graph_def.versions.producer}",
            graph_def=graph_def,
            signatures=signatures,
            default_signature=default_signature(signatures, sidecar),
            reference=SessionReference(session),
            notes=[*found.notes, *passed_over, *adapted],
        )
        source.graph_def = prune(graph_def, source.tensors())
        finish_signatures(source, session, sidecar, found)
        drop_graph_defaults(source)
        yield source


def read_graph(
    path: Path, sidecar: Sidecar, permissions: Permissions
) -> tuple[Any, Found]:
    """Return the served part of the graph in `path`, screened, and its signature.

    TensorFlow hasn't imported it yet. Raise `InvalidModel` or `InvalidSidecar`.
    """
    graph_def = parse(path)
    check_complete(graph_def)
    fix_constants(graph_def, sidecar)
    fixed = {node_of(tensor) for tensor in sidecar.constants}
    notes = cut_training(graph_def, fixed)
    check(graph_def)
    found = discover_signature(graph_def, sidecar)
    found = replace(found, notes=(*notes, *found.notes))
    roots = roots_of(graph_def, sidecar, found)
    return prune_and_screen(graph_def, roots, permissions, file=path.name), found


def check(graph_def: Any) -> None:
    """Raise `InvalidModel` for a graph that isn't frozen."""
    variables = [node.name for node in graph_def.node if node.op in VARIABLES]

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
