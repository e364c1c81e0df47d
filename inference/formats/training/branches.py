"""Branches whose predicate is known: the other branch is removed from the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.graph.control_flow import MERGES, branch_of
from inference.formats.graph.graphdef import nodes_by_name, public_name
from inference.formats.graph.nodes import become_constant, become_identity
from inference.formats.graph.topology import followers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from inference.formats.graph.control_flow import ControlFlow
    from inference.formats.graph.topology import Operation, Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pruning:
    """One removal: `decided` predicates, and the operations `removed`."""

    nodes: Mapping[str, Any]
    flow: ControlFlow
    decided: Mapping[Wire, bool]
    removed: set[Operation]

    def has_value(self, wire: Wire) -> bool:
        off = self.flow.is_excluded(self.flow.branches_of(wire), self.decided)
        return not off and wire.op not in self.removed

    def is_decided(self, operation: Operation) -> bool:
        """Return whether it is a Switch of a known predicate, which passes on."""
        branches = (branch_of(wire) for wire in operation.outputs)
        return any(
            branch is not None and branch.predicate in self.decided
            for branch in branches
        )


def cut_branches(
    graph_def: Any,
    operations: list[Operation],
    flow: ControlFlow,
    *,
    decided: Mapping[Wire, bool],
    removed: Collection[Operation],
) -> None:
    """Take the `decided` branches, and remove the operations `removed`, in place.

    `decided` has values of predicates, which become constants. Operations that only the
    other branches need are removed too. Raise `InvalidModel`.
    """
    off = {each for each in operations if flow.is_excluded(flow.of(each), decided)}
    nodes = nodes_by_name(graph_def)
    pruning = _Pruning(
        nodes=nodes, flow=flow, decided=decided, removed={*removed, *off}
    )

    for operation in operations:
        if operation not in pruning.removed:
            _rewire(operation, nodes[operation.name], pruning)

    for wire, value in decided.items():
        become_constant(nodes[wire.op.name], value, tf.bool.as_datatype_enum)

    remove(graph_def, {each.name for each in with_sources(pruning.removed)})


def _rewire(operation: Operation, node: Any, pruning: _Pruning) -> None:
    merges = operation.type in MERGES
    kept = [wire for wire in operation.inputs if not merges or pruning.has_value(wire)]
    waited = [each for each in operation.control_inputs if each not in pruning.removed]
    taken = [_tensor(wire, pruning) for wire in kept]
    node.input[:] = [*taken, *(f"^{each.name}" for each in waited)]

    if pruning.is_decided(operation) or len(kept) < len(operation.inputs):
        _check_number(operation)
        become_identity(node, taken[0])


def _tensor(wire: Wire, pruning: _Pruning) -> str:
    return wire.op.name if pruning.is_decided(wire.op) else public_name(wire.name)


def _check_number(operation: Operation) -> None:
    """Raise `InvalidModel` if the branch index of a Merge is read."""
    if operation.type in MERGES and any(each.readers for each in operation.outputs[1:]):
        raise InvalidModel(
            f"The graph reads which branch was taken ('{operation.name}:1'), and one "
            "branch trains. Freeze the model again from a graph that was built "
            "for inference, with is_training=False."
        )


def with_sources(
    removed: set[Operation], keep: Collection[Operation] = ()
) -> set[Operation]:
    """Return the removed operations and those that only they needed, without `keep`."""
    found = set(removed)
    waiting = list(removed)

    while waiting:
        operation = waiting.pop()

        for source in (
            *(wire.op for wire in operation.inputs),
            *operation.control_inputs,
        ):
            if source in found or source in keep:
                continue

            if followers(source) <= found:
                found.add(source)
                waiting.append(source)

    return found


def remove(graph_def: Any, names: set[str]) -> None:
    # From the end, so that positions stay valid.
    for position in reversed(range(len(graph_def.node))):
        if graph_def.node[position].name in names:
            del graph_def.node[position]
