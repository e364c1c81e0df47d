"""Where operations stand: in a loop's frame, on one side of a branch, or in neither.

Read from the graph's shape: a frame goes from its Enters to its Exits, a side of a
branch from an output of a Switch to the Merge that joins the sides again.
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
"""What gives on what it takes."""

_MOST_SIDES = 64
_MOST_STEPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One way that a branch can take: the `position` of the tensor that steers it.

    A boolean tensor has 0 for false and 1 for true, seen from behind any negations.
    """

    steer: Wire
    position: int


@dataclass(slots=True, kw_only=True)
class Places:
    """Of each operation: how many frames it is in, and what sides it needs taken.

    `controls` are operations that only say which way was taken; `levels` say of a side
    in how many others its branch stands.
    """

    depths: dict[Operation, int] = field(default_factory=dict)
    sides: dict[Operation, frozenset[Side]] = field(default_factory=dict)
    controls: set[Operation] = field(default_factory=set)
    levels: dict[Side, int] = field(default_factory=dict)

    def unconditional(self, operation: Operation) -> bool:
        """Return whether it runs once in each call."""
        return not self.depths.get(operation) and not self.of(operation)

    def of(self, operation: Operation) -> frozenset[Side]:
        """The sides that must be taken for `operation` to run."""
        return self.sides.get(operation, frozenset())

    def is_off(self, sides: frozenset[Side], ways: Mapping[Wire, bool]) -> bool:
        """Return whether one of `sides` isn't the way that is taken."""
        return any(
            side.steer in ways and side.position != ways[side.steer] for side in sides
        )

    def sides_of(self, wire: Wire) -> frozenset[Side]:
        """The sides that must be taken for `wire` to have a value."""
        side = side_of(wire)
        return self.of(wire.op) if side is None else self.of(wire.op) | {side}


def find_places(operations: Iterable[Operation]) -> Places:
    """The places of all operations, but of those in a circle that isn't a loop's."""
    places = Places()

    for operation in _in_order(list(operations)):
        _place(operation, places)

    return places


def side_of(wire: Wire) -> Side | None:
    """The side that the output `wire` of a Switch of a branch stands for."""
    if wire.op.type not in SWITCHES or len(wire.op.inputs) < 2 or is_loop(wire.op):
        return None

    steer, inverted = origin(wire.op.inputs[1])
    position = int(wire.name.rpartition(":")[2])
    return Side(steer=steer, position=1 - position if inverted else position)


def is_loop(switch: Operation) -> bool:
    """Return whether a Switch leads out of a loop."""
    return origin(switch.inputs[1])[0].op.type == "LoopCond"


def origin(wire: Wire) -> tuple[Wire, bool]:
    """Where a steering tensor comes from, and whether it is negated on its way."""
    inverted = False

    for _ in range(_MOST_STEPS):
        passes = wire.op.type in {"Identity", "LogicalNot", *ENTERS, *SWITCHES}

        if not passes or not wire.op.inputs:
            break

        inverted ^= wire.op.type == "LogicalNot"
        wire = wire.op.inputs[0]

    return wire, inverted


def _in_order(operations: list[Operation]) -> Iterator[Operation]:
    """Each after those that it takes or waits for; iterations begin nothing."""
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
    """Return what it takes when it first runs."""
    return [wire for wire in operation.inputs if wire.op.type not in REPEATS]


def _place(operation: Operation, places: Places) -> None:
    before = [*_sources(operation), *operation.control_inputs]
    depth = max((places.depths.get(each, 0) for each in before), default=0)
    step = (operation.type in ENTERS) - (operation.type in EXITS)
    places.depths[operation] = max(depth + step, 0)
    places.sides[operation] = _sides(operation, places)

    for side in filter(None, map(side_of, operation.outputs)):
        level = len(places.sides[operation])
        places.levels[side] = max(places.levels.get(side, 0), level)

    if _is_control(operation, places):
        places.controls.add(operation)


def _sides(operation: Operation, places: Places) -> frozenset[Side]:
    taken = [places.sides_of(wire) for wire in _begun(operation)]

    # A Merge runs as soon as one side has come to it.
    if operation.type in MERGES and taken:
        return frozenset.intersection(*taken)

    waited = [places.of(each) for each in operation.control_inputs]
    found: frozenset[Side] = frozenset().union(*taken, *waited)
    return found if len(found) <= _MOST_SIDES else max(taken + waited, key=len)


def _is_control(operation: Operation, places: Places) -> bool:
    if operation.type == "LoopCond":
        return True

    if operation.type in SWITCHES and len(operation.inputs) > 1:
        data, steer = operation.inputs[:2]
        return origin(data)[0] is origin(steer)[0] or data.op in places.controls

    sources = _sources(operation)
    passes = operation.type in FORWARDS and bool(sources)
    return passes and all(each in places.controls for each in sources)
