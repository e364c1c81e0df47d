"""Training switches of a graph, found by the branches that they select, not by name."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf
from inference.formats.graph.control_flow import (
    MERGES,
    Branch,
    find_control_flow,
    origin,
)
from inference.formats.graph.dropouts import SETTINGS, UNIFORM, keeping_values, masks
from inference.formats.graph.graphdef import used_functions
from inference.formats.graph.variables import REF_FLOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from inference.formats.graph.control_flow import ControlFlow
    from inference.formats.graph.topology import Operation, Wire

STEERABLE = {*SETTINGS, "Const"}
"""Operations that can be a switch: given by a client or fixed by the graph."""

_RESOURCE_CHANGES = re.compile(r"(Assign|AssignAdd|AssignSub)VariableOp|Resource\w+")
_READS = re.compile(r"ResourceGather(Nd)?")
_BATCH_NORMS = re.compile(r"FusedBatchNorm(V2|V3)?|_FusedBatchNormEx")
_SELECTS = {"Select", "SelectV2"}
_IFS = {"If", "StatelessIf"}
_SPREADS = {"BroadcastTo", "ExpandDims", "Identity", "Reshape", "Squeeze", "Tile"}
_STATISTICS = {"Cast", "Identity", "Reshape", "Squeeze", "StopGradient", "Switch"}
_MAX_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The operations of one graph: their control flow, and which of them only train.

    `dropouts` are those that keep or drop elements at random.
    """

    operations: list[Operation]
    flow: ControlFlow
    dropouts: set[Operation]
    library: Any


def training_branches(
    operations: list[Operation], flow: ControlFlow, library: Any
) -> dict[Wire, set[int]]:
    """Return the predicates of training, each with the positions that train."""
    evidence = Evidence(
        operations=operations,
        flow=flow,
        dropouts=set(masks(operations)),
        library=library,
    )
    found: dict[Wire, set[int]] = defaultdict(set)

    for kind in _KINDS:
        for branch in kind(evidence):
            _mark_training(branch, found, _MAX_STEPS)

    return found


def values_by_use(operations: list[Operation], library: Any) -> dict[str, float]:
    """Return the values of training switches and settings at inference, by tensor."""
    branches = training_branches(operations, find_control_flow(operations), library)
    settings = keeping_values(masks(operations).values())
    return {**settings, **inference_values(branches)}


def inference_values(branches: Mapping[Wire, set[int]]) -> dict[str, bool]:
    """Return the value of each switch, by tensor, with which nothing trains.

    A switch that trains either way has none.
    """
    return {
        wire.name: positions == {0}
        for wire, positions in branches.items()
        if wire.op.type in STEERABLE and wire.dtype == tf.bool and len(positions) == 1
    }


def changes_state(operation: Operation) -> bool:
    """Return whether it writes into a variable, its first input."""
    if _READS.fullmatch(operation.type):
        return False

    return _takes_reference(operation) or bool(
        _RESOURCE_CHANGES.fullmatch(operation.type)
    )


def _takes_reference(operation: Operation) -> bool:
    definition = op_def_registry.get(operation.type)
    arguments: Any = definition.input_arg if definition else []
    flow = operation.type in REF_FLOW or operation.type == "RefSelect"
    return bool(arguments) and arguments[0].is_ref and not flow


def _mark_training(branch: Branch, found: dict[Wire, set[int]], steps: int) -> None:
    """Add the branch and, if it is part of an `and` or `or`, the parts' branches."""
    found[branch.predicate].add(branch.position)
    # `a and b` trains only if both are true: false for either is inference.
    parts = {"LogicalAnd": 1, "LogicalOr": 0}

    if parts.get(branch.predicate.op.type) != branch.position or not steps:
        return

    for wire in branch.predicate.op.inputs:
        part, inverted = origin(wire)
        position = 1 - branch.position if inverted else branch.position
        _mark_training(Branch(predicate=part, position=position), found, steps - 1)


def _standing(evidence: Evidence) -> Iterable[Branch]:
    """Return the branches that hold dropout, updates of variables or batch norms."""
    flow = evidence.flow
    standing = {
        flow.of(each)
        for each in evidence.operations
        if each in evidence.dropouts
        or changes_state(each)
        or _normalises_batch(each.type, each.node)
    }
    known: set[Branch] = set()

    # Of nested branches the one that is known to train, else the innermost.
    for branches in sorted(standing, key=len):
        if branches and not branches & known:
            known.add(max(branches, key=lambda branch: flow.levels.get(branch, 0)))

    return known


def _chosen_statistics(evidence: Evidence) -> Iterable[Branch]:
    """Yield branches that choose a batch's mean over a constant."""
    flow = evidence.flow

    for operation in evidence.operations:
        if operation.type not in MERGES or len(operation.inputs) != 2:
            continue

        for wire, other in permutations(operation.inputs):
            batch, kept = (_followed(each, _STATISTICS).op for each in (wire, other))

            if _is_statistic(batch) and kept.type == "Const":
                yield from flow.branches_of(wire) - flow.branches_of(other)


def _selected(evidence: Evidence) -> Iterable[Branch]:
    """Yield branches of a select whose value alone needs dropout."""
    for operation in evidence.operations:
        if operation.type not in _SELECTS or len(operation.inputs) != 3:
            continue

        predicate, inverted = _scalar_origin(operation.inputs[0])

        if predicate.op.type not in STEERABLE:
            continue

        then, otherwise = (_needed(wire) for wire in operation.inputs[1:])

        for position, only in ((1, then - otherwise), (0, otherwise - then)):
            if only & evidence.dropouts:
                yield Branch(predicate=predicate, position=position ^ inverted)


def _in_functions(evidence: Evidence) -> Iterable[Branch]:
    for operation in evidence.operations:
        if operation.type not in _IFS or not operation.inputs:
            continue

        predicate, inverted = origin(operation.inputs[0])

        for position, name in ((1, "then_branch"), (0, "else_branch")):
            if _trains(operation.node.attr[name].func.name, evidence.library):
                yield Branch(predicate=predicate, position=position ^ inverted)


_KINDS: tuple[Callable[[Evidence], Iterable[Branch]], ...] = (
    _standing,
    _chosen_statistics,
    _selected,
    _in_functions,
)


def _trains(function: str, library: Any) -> bool:
    bodies = {each.signature.name: each for each in library.function}

    if function not in bodies:
        return False

    names = {function, *used_functions(bodies[function].node_def, library)}
    return any(
        node.op in UNIFORM
        or _RESOURCE_CHANGES.fullmatch(node.op)
        or _normalises_batch(node.op, node)
        for name in names
        for node in bodies[name].node_def
    )


def _normalises_batch(kind: str, node: Any) -> bool:
    if not _BATCH_NORMS.fullmatch(kind):
        return False

    # The attribute's default is true.
    return "is_training" not in node.attr or bool(node.attr["is_training"].b)


def _is_statistic(operation: Operation) -> bool:
    return operation.type == "Mean" or _normalises_batch(operation.type, operation.node)


def _scalar_origin(wire: Wire) -> tuple[Wire, bool]:
    """Return the origin of a predicate, also through operations that broadcast it."""
    inverted = False

    for _ in range(_MAX_STEPS):
        found, turned = origin(wire)
        inverted ^= turned
        wire = _spread_from(found)

        if wire is found:
            break

    return wire, inverted


def _spread_from(wire: Wire) -> Wire:
    """Return the scalar that fills a tensor."""
    wire = _followed(wire, _SPREADS)
    fills = wire.op.type == "Fill" and len(wire.op.inputs) == 2
    return wire.op.inputs[1] if fills else wire


def _followed(wire: Wire, kinds: set[str]) -> Wire:
    for _ in range(_MAX_STEPS):
        if wire.op.type not in kinds or not wire.op.inputs:
            break

        wire = wire.op.inputs[0]

    return wire


def _needed(wire: Wire) -> set[Operation]:
    found: set[Operation] = set()
    waiting = [wire.op]

    while waiting:
        operation = waiting.pop()

        if operation not in found:
            found.add(operation)
            waiting.extend(each.op for each in operation.inputs)

    return found
