"""Control inputs that say nothing: waiting for what is there from the beginning."""

from __future__ import annotations

from typing import Any

from inference.formats.graph.graphdef import node_of

_READY = {"Const", "NoOp", "VarHandleOp"}
"""They do nothing and wait for nothing of their own accord."""


def drop_redundant_controls(graph_def: Any) -> None:
    """Drop control inputs from nodes that wait for nothing either, in place.

    Bodies of functions that were inlined have one at each constant, which keeps the
    constants of two signatures apart, and the variables of a frozen graph in it.
    """
    ready = _ready(graph_def)

    for node in graph_def.node:
        if any(_is_redundant(tensor, ready) for tensor in node.input):
            node.input[:] = [
                each for each in node.input if not _is_redundant(each, ready)
            ]


def _is_redundant(tensor: str, ready: set[str]) -> bool:
    return tensor.startswith("^") and node_of(tensor) in ready


def _ready(graph_def: Any) -> set[str]:
    """The nodes that can run at once, whatever else does."""
    waiting = {
        node.name: {node_of(tensor) for tensor in node.input}
        for node in graph_def.node
        if node.op in _READY
    }
    ready: set[str] = set()

    while found := {name for name, needed in waiting.items() if needed <= ready}:
        ready |= found
        waiting = {name: waiting[name] for name in waiting.keys() - found}

    return ready
