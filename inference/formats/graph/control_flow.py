"""The position of operations in TF1 control flow: loop frames and branches.

It is read from the graph: a frame extends from its Enters to its Exits, a branch from
an output of a Switch to the Merge that joins the branches again.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inference.formats.graph.topology import Operation, Wire

ENTERS = {"Enter", "RefEnter"}
EXITS = {"Exit", "RefExit"}
REPEATS = {"NextIteration", "RefNextIteration"}
SWITCHES = {"Switch", "RefSwitch", "_SwitchN"}
MERGES = {"Merge", "RefMerge"}
FORWARDS = {"Identity", "RefIdentity", *ENTERS, *EXITS, *REPEATS, *MERGES}
"""Operations that pass on what they take."""

_MAX_BRANCHES = 64
_MAX_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One branch of a conditional: the `position` of the `predicate` that selects it.

    For a boolean predicate 0 is false and 1 is true, after any negations.
    """

    predicate: Wire
    position: int


@dataclass(slots=True, kw_only=True)
class ControlFlow:
    """Of each operation: how many frames it is in, and which branches it needs taken.

    `controls` are operations that only tell which branch was taken; `levels` has for a
    branch the number of branches around it.
    """

    depths: dict[Operation, int] = field(default_factory=dict)
    branches: dict[Operation, frozenset[Branch]] = field(default_factory=dict)
    controls: set[Operation] = field(default_factory=set)
    levels: dict[Branch, int] = field(default_factory=dict)

    def is_unconditional(self, operation: Operation) -> bool:
        """Return whether it runs exactly once in each call."""
        return not self.depths.get(operation) and not self.of(operation)

    def of(self, operation: Operation) -> frozenset[Branch]:
        """Return the branches that must be taken for `operation` to run."""
        return self.branches.get(operation, frozenset())

    def is_excluded(
        self, branches: frozenset[Branch], decided: Mapping[Wire, bool]
    ) -> bool:
        """Return whether one of `branches` isn't the decided one."""
        return any(
            branch.predicate in decided and branch.position != decided[branch.predicate]
            for branch in branches
        )

    def branches_of(self, wire: Wire) -> frozenset[Branch]:
        """Return the branches that must be taken for `wire` to have a value."""
        branch = branch_of(wire)
        return self.of(wire.op) if branch is None else self.of(wire.op) | {branch}


def find_control_flow(operations: Iterable[Operation]) -> ControlFlow:
    """Locate all operations, except those in a cycle that isn't a loop's."""
    flow = ControlFlow()

    for operation in _in_order(list(operations)):
        _locate(operation, flow)

    return flow


def branch_of(wire: Wire) -> Branch | None:
    """Return the branch that the output `wire` of a conditional's Switch stands for."""
    if wire.op.type not in SWITCHES or len(wire.op.inputs) < 2 or is_loop(wire.op):
        return None

    predicate, inverted = origin(wire.op.inputs[1])
    position = int(wire.name.rpartition(":")[2])
    return Branch(predicate=predicate, position=1 - position if inverted else position)


def is_loop(switch: Operation) -> bool:
    """Return whether a Switch leads out of a loop."""
    return origin(switch.inputs[1])[0].op.type == "LoopCond"


def origin(wire: Wire) -> tuple[Wire, bool]:
    """Return where a predicate comes from, and whether it is negated on its way."""
    inverted = False

    for _ in range(_MAX_STEPS):
        passes = wire.op.type in {"Identity", "LogicalNot", *ENTERS, *SWITCHES}

        if not passes or not wire.op.inputs:
            break

        inverted ^= wire.op.type == "LogicalNot"
        wire = wire.op.inputs[0]

    return wire, inverted


def _in_order(operations: list[Operation]) -> Iterator[Operation]:
    """Yield each operation after its inputs; back edges of loops don't count."""
    followers = defaultdict(list)
    missing = {}

    for operation in operations:
        before = {*_sources(operation), *operation.control_inputs}
        missing[operation] = len(before)

        for each in before:
            followers[each].append(operation)

    ready = deque(each for each in operations if not missing[each])

    while ready:
        operation = ready.popleft()
        yield operation

        for follower in followers[operation]:
            missing[follower] -= 1

            if not missing[follower]:
                ready.append(follower)


def _sources(operation: Operation) -> list[Operation]:
    return [wire.op for wire in _begun(operation)]


def _begun(operation: Operation) -> list[Wire]:
    """Return its inputs when it first runs."""
    return [wire for wire in operation.inputs if wire.op.type not in REPEATS]


def _locate(operation: Operation, flow: ControlFlow) -> None:
    before = [*_sources(operation), *operation.control_inputs]
    depth = max((flow.depths.get(each, 0) for each in before), default=0)
    step = (operation.type in ENTERS) - (operation.type in EXITS)
    flow.depths[operation] = max(depth + step, 0)
    flow.branches[operation] = _branches(operation, flow)

    for branch in filter(None, map(branch_of, operation.outputs)):
        level = len(flow.branches[operation])
        flow.levels[branch] = max(flow.levels.get(branch, 0), level)

    if _is_control(operation, flow):
        flow.controls.add(operation)


def _branches(operation: Operation, flow: ControlFlow) -> frozenset[Branch]:
    taken = [flow.branches_of(wire) for wire in _begun(operation)]

    # A Merge runs as soon as one side has come to it.
    if operation.type in MERGES and taken:
        return frozenset.intersection(*taken)

    waited = [flow.of(each) for each in operation.control_inputs]
    found: frozenset[Branch] = frozenset().union(*taken, *waited)
    return found if len(found) <= _MAX_BRANCHES else max(taken + waited, key=len)


def _is_control(operation: Operation, flow: ControlFlow) -> bool:
    if operation.type == "LoopCond":
        return True

    if operation.type in SWITCHES and len(operation.inputs) > 1:
        data, predicate = operation.inputs[:2]
        return origin(data)[0] is origin(predicate)[0] or data.op in flow.controls

    sources = _sources(operation)
    passes = operation.type in FORWARDS and bool(sources)
    return passes and all(each in flow.controls for each in sources)
