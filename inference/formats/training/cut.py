"""Removal of training branches from graphs that can't run with them.

Freezing turns variables into constants and leaves the operations that update them:
TensorFlow rejects such a graph as a whole (tensorflow#3628), though nothing of it is
needed outside training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.graph.control_flow import ControlFlow, find_control_flow
from inference.formats.graph.dropouts import number
from inference.formats.graph.graphdef import nodes_by_name
from inference.formats.graph.nodes import become_constant
from inference.formats.graph.topology import followers, read_operations
from inference.formats.graph.variables import REF_FLOW
from inference.formats.training.branches import cut_branches
from inference.formats.training.switches import (
    changes_state,
    inference_values,
    training_branches,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from inference.formats.graph.topology import Operation, Wire

_BOOL = tf.bool.as_datatype_enum
_PASSES = {*REF_FLOW, *REF_FLOW.values()}
_MAX_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decisions:
    """The value of each predicate that has one; `fixed` are the sidecar's."""

    values: dict[Wire, bool]
    fixed: Collection[str]


def cut_training(graph_def: Any, fixed: Collection[str]) -> list[str]:
    """Set constant training switches to false and cut dead updates, in place.

    `fixed` are nodes that the sidecar gave values. Return notes; raise `InvalidModel`
    if it is unclear which branch trains.
    """
    operations = read_operations(graph_def)
    flow = find_control_flow(operations)
    decisions = _decide(operations, flow, graph_def.library, fixed)
    notes = _switch_off(decisions, graph_def)
    stale = [each for each in operations if changes_state(each) and _is_stale(each)]

    if stale:
        idle = _removable(stale, flow, decisions)
        predicates = {branch.predicate for each in stale for branch in flow.of(each)}
        decided = {
            wire: decisions.values[wire]
            for wire in predicates & decisions.values.keys()
        }
        cut_branches(graph_def, operations, flow, decided=decided, removed=idle)
        notes += [_cut_note(wire, value) for wire, value in decided.items()]

    _drop_references(graph_def)
    return notes


def _decide(
    operations: list[Operation], flow: ControlFlow, library: Any, fixed: Collection[str]
) -> _Decisions:
    branches = training_branches(operations, flow, library)
    by_use = inference_values(branches)
    values = {wire: by_use[wire.name] for wire in branches if wire.name in by_use}

    for wire in branches:
        known = number(wire)

        if wire.op.name in fixed and known is not None:
            values[wire] = bool(known)

    return _Decisions(values=values, fixed=fixed)


def _switch_off(decisions: _Decisions, graph_def: Any) -> list[str]:
    nodes = nodes_by_name(graph_def)
    notes = []

    for wire, value in decisions.values.items():
        known = number(wire)

        if known is not None and bool(known) != value:
            become_constant(nodes[wire.op.name], value, _BOOL)
            notes.append(
                f"The constant '{wire.op.name}' is {bool(known)} in the graph, which "
                f"only training needs; it is {value} here. Set it under [constants] to "
                "change that."
            )

    return notes


def _is_stale(operation: Operation) -> bool:
    """Return whether it writes into something that isn't a variable any more."""
    wire = operation.inputs[0] if operation.inputs else None

    for _ in range(_MAX_STEPS):
        if wire is None or not wire.op.inputs:
            break

        if wire.op.type not in _PASSES and not changes_state(wire.op):
            break

        wire = wire.op.inputs[0]

    return wire is not None and not _is_state(wire)


def _is_state(wire: Wire) -> bool:
    definition = op_def_registry.get(wire.op.type)
    made: Any = definition.output_arg if definition else []
    return wire.dtype == tf.resource or (bool(made) and made[0].is_ref)


def _removable(
    stale: list[Operation], flow: ControlFlow, decisions: _Decisions
) -> set[Operation]:
    """Return the operations of `stale` to remove. Raise `InvalidModel` for others."""
    left = [
        operation
        for operation in stale
        if not flow.is_excluded(flow.of(operation), decisions.values)
    ]

    for operation in left:
        if not _is_idle(operation):
            raise InvalidModel(_undecided(operation, flow, decisions))

    return set(left)


def _is_idle(operation: Operation) -> bool:
    """Return whether nothing reads its result, or its variable after the write."""
    if any(wire.readers for wire in operation.outputs):
        return False

    readers = set(operation.inputs[0].op.outputs[0].readers) - {operation}
    return not readers & _after(operation)


def _after(operation: Operation) -> set[Operation]:
    found: set[Operation] = set()
    waiting = [operation]

    while waiting:
        new = followers(waiting.pop()) - found
        waiting.extend(new)
        found |= new

    return found


def _undecided(operation: Operation, flow: ControlFlow, decisions: _Decisions) -> str:
    where = (
        "The graph updates a variable that freezing made a constant: "
        f"'{operation.name}' ({operation.type})"
    )
    predicates = sorted(branch.predicate.op.name for branch in flow.of(operation))
    fixed = [name for name in predicates if name in decisions.fixed]

    if fixed:
        return (
            f"{where} runs with the value that [constants] has for '{fixed[0]}'. Give "
            "it the other one, the value outside training."
        )

    if predicates:
        return (
            f"{where}, in a branch that '{predicates[0]}' selects, and it is unclear "
            "which of its values is training. Say in the sidecar which it has outside "
            f'training: [constants] "{predicates[0]}" = false, or true.'
        )

    return (
        f"{where} runs in every call. Freeze the model again from a graph that was "
        "built for inference, with is_training=False."
    )


def _cut_note(wire: Wire, value: bool) -> str:
    return (
        f"'{wire.op.name}' is {value} and not an input: its other branch trains, and "
        "updates what is constant here; that branch is removed."
    )


def _drop_references(graph_def: Any) -> None:
    """Turn reference operations into plain ones if no variable is left."""
    if any(_makes_reference(node.op) for node in graph_def.node):
        return

    for node in graph_def.node:
        node.op = REF_FLOW.get(node.op, node.op)


def _makes_reference(kind: str) -> bool:
    definition = op_def_registry.get(kind)
    made: Any = definition.output_arg if definition else []
    return kind not in REF_FLOW and any(each.is_ref for each in made)
