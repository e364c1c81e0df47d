"""Removal of control inputs that order nothing."""

from __future__ import annotations

from typing import Any

from inference.formats.graph.graphdef import node_of

_READY = {"Const", "NoOp", "VarHandleOp"}
"""Operations that do nothing and wait for nothing of their own accord."""


def drop_redundant_controls(graph_def: Any) -> None:
    """Drop control inputs from nodes that are ready from the start, in place.

    Bodies of inlined functions have one at each constant. It keeps apart equal
    constants of two signatures, and keeps the variables of a frozen graph in it.
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
    """Return the nodes that can run before any other."""
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
