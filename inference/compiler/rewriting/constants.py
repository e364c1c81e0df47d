"""Deduplication of a graph's small constants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.formats.graph.graphdef import node_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def share_constants(graph_def: Any, kept: Collection[str]) -> None:
    """Keep one `Const` for each value, in place; the nodes named `kept` stay.

    A constant with a control input stays too.
    """
    firsts: dict[bytes, str] = {}
    instead: dict[str, str] = {}

    for node in graph_def.node:
        # A control input may tie a constant to a loop's frame.
        if node.op != "Const" or node.input or node.name in kept:
            continue

        # Maps inside equal protobufs may otherwise be serialised in any order.
        value = node.attr["value"].tensor.SerializeToString(deterministic=True)
        first = firsts.setdefault(value, node.name)

        if first != node.name:
            instead[node.name] = first

    left = [node for node in graph_def.node if node.name not in instead]

    for node in left:
        node.input[:] = [_replaced(tensor, instead) for tensor in node.input]

    del graph_def.node[:]
    graph_def.node.extend(left)


def _replaced(tensor: str, instead: Mapping[str, str]) -> str:
    name = node_of(tensor)
    return tensor.replace(name, instead[name], 1) if name in instead else tensor
