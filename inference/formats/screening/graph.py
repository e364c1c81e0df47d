"""Screening of a graph: it mustn't reach files, the network or the process.

Every operation must be on a list of safe ones. The graph is pruned first, since
published graphs carry dead functions that save and restore files. Nothing here runs a
graph.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.graph.graphdef import (
    callees,
    check_ops,
    function_names,
    located_nodes,
)
from inference.formats.screening import attributes
from inference.formats.screening.attributes import holds_handle, outside_reference
from inference.formats.screening.memory_bounds import check_budget, check_constants
from inference.formats.screening.operations import safe_operations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from inference.permissions import Permissions

_MAX_NAMED = 10
_MAX_LEVELS = 100
_MAX_NODES = 10_000_000


def screen(
    graph_def: Any,
    permissions: Permissions,
    *,
    file: str,
    also: Collection[str] = (),
) -> None:
    """Raise `InvalidModel` for a graph that could do harm when imported or run.

    `graph_def` is pruned to what is run; `also` are operations allowed beside the safe
    ones. An operation that the operator allows passes with its attributes.
    """
    check_ops(graph_def)
    _check_nesting(graph_def, file)
    allowed = safe_operations() | set(permissions.allow_ops)
    _check_operations(graph_def, allowed | function_names(graph_def) | set(also), file)

    for function, node in located_nodes(graph_def):
        if node.op not in permissions.allow_ops:
            _check_attributes(node, node_label(file, function, node))

    check_budget(check_constants(graph_def, file=file), permissions, file=file)


def clear_placement(graph_def: Any) -> None:
    """Drop, in place, what ties a graph to the machine that wrote it."""
    for _, node in located_nodes(graph_def):
        attributes.clear_placement(node)


def node_label(file: str, function: str, node: Any) -> str:
    """Return where `node` stands, as the start of a sentence."""
    inside = f" in the function '{function}'" if function else ""
    return f"{file}: node '{node.name}'{inside}"


def _check_operations(graph_def: Any, allowed: Collection[str], file: str) -> None:
    refused = {
        node.op: node_label(file, function, node)
        for function, node in _backwards(graph_def)
        if node.op not in allowed
    }

    if not refused:
        return

    op, where = next(reversed(refused.items()))
    others = sorted(refused.keys() - {op})[:_MAX_NAMED]
    also = f" It also uses {', '.join(others)}." if others else ""
    raise InvalidModel(
        f"{where} is a {op}, which is not on the list of operations that are known to "
        f"be safe: it may reach files, the network or other programs.{also} Export the "
        f"model without it, or, if you trust the file, allow it with --allow-ops {op}."
    )


def _check_attributes(node: Any, where: str) -> None:
    found = outside_reference(node)

    if found:
        name, text = found
        raise InvalidModel(
            f"{where} ({node.op}) names a place outside the model in its attribute "
            f"{name}: {text[:200]!r}. Export the model without it, or, if you trust "
            f"the file, allow it with --allow-ops {node.op}."
        )

    if holds_handle(node):
        raise InvalidModel(
            f"{where} ({node.op}) holds a handle or a variant as a constant, which may "
            "be a program or belong to another model. Export the model without it."
        )


def _check_nesting(graph_def: Any, file: str) -> None:
    """Raise `InvalidModel` for a function that calls itself."""
    # A function that calls itself would be inlined until the stack overflows.
    calls = {
        function.signature.name: [
            name for node in function.node_def for name in callees(node)
        ]
        for function in graph_def.library.function
    }

    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError as error:
        around = " → ".join(reversed(error.args[1][:_MAX_NAMED]))
        raise InvalidModel(
            f"{file}: a function calls itself ({around}), which no export does. The "
            "file is damaged or crafted; export the model again."
        ) from None

    _check_expansion(calls, order, file)


def _check_expansion(
    calls: Mapping[str, list[str]], order: Iterable[str], file: str
) -> None:
    """Raise `InvalidModel` for calls that expand to too many operations.

    In `order` callees stand before their callers.
    """
    # Each call is inlined: a few functions can expand to more operations than could
    # ever run, and TensorFlow has no time limit meanwhile.
    nodes: dict[str, int] = {}
    levels: dict[str, int] = {}

    for name in order:
        inner = calls.get(name, [])
        nodes[name] = 1 + sum(nodes[each] for each in inner)
        levels[name] = 1 + max((levels[each] for each in inner), default=0)

        if nodes[name] > _MAX_NODES or levels[name] > _MAX_LEVELS:
            raise InvalidModel(
                f"{file}: the function '{name}' calls functions that call others, more "
                f"than {_MAX_LEVELS} deep or {_MAX_NODES:,} operations in all, which "
                "no export does. Export the model again."
            )


def _backwards(graph_def: Any) -> Iterator[tuple[str, Any]]:
    """Yield the nodes from last to first."""
    # So that a dict by operation ends with the first node of each.
    yield from reversed(list(located_nodes(graph_def)))
