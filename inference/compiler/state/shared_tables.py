"""Lookup tables that a call would change for later calls."""

from __future__ import annotations

from typing import Any

from inference.errors import InvalidModel
from inference.formats.graph.graphdef import located_nodes
from inference.formats.graph.tables import TABLES

_WRITES = {
    f"LookupTable{verb}{version}"
    for verb in ("Import", "Insert", "Remove")
    for version in ("", "V2")
}


def check_tables(graph_def: Any) -> None:
    """Raise `InvalidModel` if a call writes into a table that outlives it.

    A table made by the call itself (`AnonymousMutableHashTable`) may be written.
    """
    nodes = [node for _, node in located_nodes(graph_def)]
    kept = next((node for node in nodes if node.op in TABLES), None)
    write = next((node for node in nodes if node.op in _WRITES), None)

    if kept is None or write is None:
        return

    raise InvalidModel(
        f"'{write.name}' ({write.op}) changes the lookup table '{kept.name}' during a "
        "call, so requests would see each other's data. Export the model with a table "
        "that it only reads."
    )
