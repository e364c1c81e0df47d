"""Dropout in a graph: where random numbers decide what is kept, and what keeps all.

A mask compares a linear form of uniform random numbers, constants and perhaps a
placeholder: `random >= rate`, `random >= 1 - keep`, `floor(keep + random)`. It is read
as an inequality, so neither names nor the version of dropout matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.backend import tf
from inference.formats.graph.control_flow import ENTERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inference.formats.graph.topology import Operation, Wire

UNIFORM = {"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2"}
SETTINGS = {"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"}
_FORWARDS = {"Cast", "Identity", "Switch", *ENTERS}

# Which operand must be the larger one for an element to be kept.
_COMPARISONS = {"Greater": 0, "GreaterEqual": 0, "Less": 1, "LessEqual": 1}
_MASKS = {*_COMPARISONS, "Floor"}
_MAX_STEPS = 20

# With the sign of the second operand.
_ARITHMETIC = {"Add": 1.0, "AddV2": 1.0, "Sub": -1.0, "Mul": 1.0}
# Each level may double the work.
_MAX_LEVELS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A sum of tensors, each with a factor, and a number."""

    terms: Mapping[Wire, float] = field(default_factory=dict)
    offset: float = 0.0

    def times(self, factor: float) -> Linear:
        terms = {wire: each * factor for wire, each in self.terms.items()}
        return Linear(terms=terms, offset=self.offset * factor)

    def plus(self, other: Linear) -> Linear:
        terms = {
            wire: self.terms.get(wire, 0.0) + other.terms.get(wire, 0.0)
            for wire in (*self.terms, *other.terms)
        }
        return Linear(terms=terms, offset=self.offset + other.offset)


def masks(operations: Iterable[Operation]) -> dict[Operation, Linear]:
    """Return the operations that keep or drop elements at random.

    Each with the form that is at least 0 where an element is kept.
    """
    found = {
        operation: _kept_where(operation)
        for operation in operations
        if operation.type in _MASKS and any(map(_drops, operation.outputs))
    }
    return {each: form for each, form in found.items() if _randoms(form)}


def keeping_values(masks: Iterable[Linear]) -> dict[str, float]:
    """Return the value of each dropout placeholder that keeps all elements.

    By tensor, 0 or 1. Placeholders that masks disagree on are left out.
    """
    values: dict[str, set[float]] = {}

    for mask in masks:
        for wire in mask.terms:
            if wire.op.type in SETTINGS:
                values.setdefault(wire.name, set()).update(_keeps_all(mask, wire))

    return {name: min(each) for name, each in values.items() if len(each) == 1}


def number(wire: Wire) -> float | None:
    """Return the value of a constant of one element; `None` for anything else."""
    if wire.op.type != "Const":
        return None

    tensor = wire.op.node.attr["value"].tensor

    if any(dim.size != 1 for dim in tensor.tensor_shape.dim):
        return None

    try:
        return float(tf.make_ndarray(tensor).item())
    except (TypeError, ValueError):
        return None


def _kept_where(operation: Operation) -> Linear:
    forms = [_linear(wire) for wire in operation.inputs]

    if operation.type == "Floor" and len(forms) == 1:
        # `floor(x)` keeps an element from 1 on, so where `x - 1` is at least 0.
        return forms[0].plus(Linear(offset=-1.0))

    if len(forms) != 2:
        return Linear()

    larger = _COMPARISONS[operation.type]
    return forms[larger].plus(forms[1 - larger].times(-1.0))


def _drops(mask: Wire, steps: int = _MAX_STEPS) -> bool:
    """Return whether values are multiplied by `mask`, or zeroed where it is false."""
    # Other random choices, as of an exploring agent, pick between two values.
    return any(_is_dropped(mask, reader, steps) for reader in mask.readers)


def _is_dropped(mask: Wire, reader: Operation, steps: int) -> bool:
    if reader.type in {"Cast", "Identity"} and steps:
        return any(_drops(wire, steps - 1) for wire in reader.outputs)

    if reader.type in {"Select", "SelectV2"} and len(reader.inputs) == 3:
        return reader.inputs[0] is mask and _is_zero(reader.inputs[2])

    return reader.type == "Mul"


def _is_zero(wire: Wire) -> bool:
    fills = wire.op.type == "Fill" and len(wire.op.inputs) == 2
    value = number(wire.op.inputs[1] if fills else wire)
    return wire.op.type == "ZerosLike" or value == 0


def _keeps_all(mask: Linear, setting: Wire) -> Iterator[float]:
    """Yield the values, 0 and 1, of `setting` for which no random number drops any."""
    randoms = _randoms(mask)

    if len(mask.terms) != len(randoms) + 1:
        return

    least = mask.offset + sum(min(mask.terms[wire], 0.0) for wire in randoms)

    for value in (0.0, 1.0):
        if least + mask.terms[setting] * value >= 0:
            yield value


def _randoms(form: Linear) -> list[Wire]:
    return [wire for wire in form.terms if wire.op.type in UNIFORM]


def _linear(wire: Wire, levels: int = _MAX_LEVELS) -> Linear:
    wire = _passed(wire)
    known = number(wire)

    if known is not None:
        return Linear(offset=known)

    if wire.op.type not in _ARITHMETIC or len(wire.op.inputs) != 2 or not levels:
        return Linear(terms={wire: 1.0})

    first, second = (_linear(each, levels - 1) for each in wire.op.inputs)

    if wire.op.type != "Mul":
        return first.plus(second.times(_ARITHMETIC[wire.op.type]))

    if first.terms and second.terms:
        return Linear(terms={wire: 1.0})

    factor, form = (first, second) if second.terms else (second, first)
    return form.times(factor.offset)


def _passed(wire: Wire) -> Wire:
    for _ in range(_MAX_STEPS):
        if wire.op.type not in _FORWARDS or not wire.op.inputs:
            break

        wire = wire.op.inputs[0]

    return wire
