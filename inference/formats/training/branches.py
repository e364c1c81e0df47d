"""Branches whose way is known: the other way is taken out of the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.graph.control_flow import MERGES, side_of
from inference.formats.graph.graphdef import nodes_by_name, public_name
from inference.formats.graph.nodes import become_constant, become_identity
from inference.formats.graph.topology import followers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from inference.formats.graph.control_flow import Places
    from inference.formats.graph.topology import Operation, Wire


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cut:
    """`ways` are taken; the operations `gone` are left out."""

    nodes: Mapping[str, Any]
    places: Places
    ways: Mapping[Wire, bool]
    gone: set[Operation]

    def has_value(self, wire: Wire) -> bool:
        off = self.places.is_off(self.places.sides_of(wire), self.ways)
        return not off and wire.op not in self.gone

    def is_open(self, operation: Operation) -> bool:
        """Tell a Switch whose way is known, so that it just passes on."""
        sides = (side_of(wire) for wire in operation.outputs)
        return any(side is not None and side.steer in self.ways for side in sides)


def cut_branches(
    graph_def: Any,
    wired: list[Operation],
    places: Places,
    *,
    ways: Mapping[Wire, bool],
    gone: Collection[Operation],
) -> None:
    """Take the ways `ways`, and leave the operations `gone` out, in place.

    `ways` are the values of tensors that steer branches; they become constants. What
    only the other ways need goes too. Raises `InvalidModel`.
    """
    off = {each for each in wired if places.is_off(places.of(each), ways)}
    nodes = nodes_by_name(graph_def)
    cut = _Cut(nodes=nodes, places=places, ways=ways, gone={*gone, *off})

    for operation in wired:
        if operation not in cut.gone:
            _rewire(operation, nodes[operation.name], cut)

    for wire, value in ways.items():
        become_constant(nodes[wire.op.name], value, tf.bool.as_datatype_enum)

    remove(graph_def, {each.name for each in with_sources(cut.gone)})


def _rewire(operation: Operation, node: Any, cut: _Cut) -> None:
    merges = operation.type in MERGES
    kept = [wire for wire in operation.inputs if not merges or cut.has_value(wire)]
    waited = [each for each in operation.control_inputs if each not in cut.gone]
    taken = [_tensor(wire, cut) for wire in kept]
    node.input[:] = [*taken, *(f"^{each.name}" for each in waited)]

    if cut.is_open(operation) or len(kept) < len(operation.inputs):
        _check_number(operation)
        become_identity(node, taken[0])


def _tensor(wire: Wire, cut: _Cut) -> str:
    return wire.op.name if cut.is_open(wire.op) else public_name(wire.name)


def _check_number(operation: Operation) -> None:
    """A Merge also gives the number of the side that it took, which nobody reads."""
    if operation.type in MERGES and any(each.readers for each in operation.outputs[1:]):
        raise InvalidModel(
            f"The graph uses which side of a branch was taken ('{operation.name}:1'), "
            "and one side trains. Freeze the model again from a graph that was built "
            "for inference, with is_training=False."
        )


def with_sources(gone: set[Operation]) -> set[Operation]:
    """Return what is gone, and what only that needed."""
    found = set(gone)
    waiting = list(gone)

    while waiting:
        operation = waiting.pop()

        for source in (
            *(wire.op for wire in operation.inputs),
            *operation.control_inputs,
        ):
            if source not in found and followers(source) <= found:
                found.add(source)
                waiting.append(source)

    return found


def remove(graph_def: Any, names: set[str]) -> None:
    for position in reversed(range(len(graph_def.node))):
        if graph_def.node[position].name in names:
            del graph_def.node[position]
