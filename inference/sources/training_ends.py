"""What of a training graph only trains, saves and reports: left out before all else."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.sources.branch_cut import remove, with_sources
from inference.sources.discovery import feedable_tensors, inputs_of
from inference.sources.training import changes_state
from inference.sources.wiring import followers, operations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.sources.discovery import Found
    from inference.sources.wiring import Operation, Wire

# tf.gradients makes all of its operations in a scope of this name.
_GRADIENT = re.compile(r"(.*/)?gradients(_\d+)?/")
_MEANS = {"Mean", "Sum"}
_MOST_STEPS = 20
_SAVES = {"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"}


def drop_training_ends(graph_def: Any, also: Iterable[str]) -> None:
    """Drop what nothing but updates, saves and summaries need, in place.

    `also` are nodes that the saver is called by.
    """
    named = set(also)
    wired = operations(graph_def)
    idle = _idle(wired)
    ends = [each for each in wired if each.name in named or _only_trains(each)]
    gone: set[Operation] = set()
    size = -1

    # One that waits for another goes after it.
    while size < len(gone):
        size = len(gone)
        gone |= {each for each in ends if followers(each) <= gone | idle}

    gone = with_sources(gone | idle) if gone else idle
    remove(graph_def, {each.name for each in gone})


def drop_measures(wired: list[Operation], found: Found) -> Found:
    """Without losses and accuracies: means that alone need an input, such as labels."""
    feedable = feedable_tensors(wired)
    wires = {wire.name: wire for each in wired for wire in each.outputs}
    needed = {
        name: {each.name for each in inputs_of([wires[name]], feedable)}
        for name in found.outputs
    }
    answers = {name for name in needed if _source(wires[name]).type not in _MEANS}
    asked = {each for name in answers for each in needed[name]}
    kept = [name for name in found.outputs if name in answers or needed[name] <= asked]

    if not answers:
        return found

    inputs = sorted({each for name in kept for each in needed[name]})
    return replace(found, inputs=tuple(inputs), outputs=tuple(kept))


def _source(wire: Wire) -> Operation:
    """What makes the value that may only be named afterwards."""
    operation = wire.op

    for _ in range(_MOST_STEPS):
        if operation.type != "Identity" or not operation.inputs:
            break

        operation = operation.inputs[0].op

    return operation


def _idle(wired: list[Operation]) -> set[Operation]:
    """Operations without outputs that only group others for somebody to run."""
    idle: set[Operation] = set()
    waiting = [each for each in wired if each.type == "NoOp" and not each.waiting]

    while waiting:
        operation = waiting.pop()
        idle.add(operation)
        waiting += [
            each
            for each in operation.control_inputs
            if each.type == "NoOp" and set(each.waiting) <= idle
        ]

    return idle


def _only_trains(operation: Operation) -> bool:
    """Whether it updates, saves or reports, or is a gradient: some nobody uses."""
    kind = operation.type
    reports = kind in _SAVES or "Summary" in kind
    return reports or changes_state(operation) or bool(_GRADIENT.match(operation.name))
