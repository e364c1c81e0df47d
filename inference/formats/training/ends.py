"""Ends of a training graph that only train, save and report: left out first."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.graph.signature_discovery import feedable_tensors, inputs_of
from inference.formats.graph.topology import followers, read_operations
from inference.formats.training.branches import remove, with_sources
from inference.formats.training.switches import changes_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.formats.graph.signature_discovery import Found
    from inference.formats.graph.topology import Operation

# tf.gradients makes all of its operations in a scope of this name.
_GRADIENT = re.compile(r"(.*/)?gradients(_\d+)?/")
_ADDED = {"Add", "AddN", "AddV2", "Identity", "Mul"}
_MEANS = {"Mean", "Sum"}
_MAX_STEPS = 20
_SAVES = {"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"}


def drop_training_ends(graph_def: Any, also: Iterable[str]) -> None:
    """Drop what nothing but updates, saves and summaries need, in place.

    `also` are nodes that the saver is called by.
    """
    named = set(also)
    operations = read_operations(graph_def)
    idle = _idle(operations)
    ends = [each for each in operations if each.name in named or _only_trains(each)]
    removed: set[Operation] = set()
    size = -1

    # One that waits for another goes after it.
    while size < len(removed):
        size = len(removed)
        removed |= {each for each in ends if followers(each) <= removed | idle}

    removed = with_sources(removed | idle) if removed else idle
    remove(graph_def, {each.name for each in removed})


def drop_metrics(operations: list[Operation], found: Found) -> Found:
    """Without losses and accuracies: means that alone need an input, such as labels.

    Raises `InvalidModel` where nothing else comes out, and takes labels, it seems.
    """
    feedable = feedable_tensors(operations)
    wires = {wire.name: wire for each in operations for wire in each.outputs}
    needed = {
        name: {each.name for each in inputs_of([wires[name]], feedable)}
        for name in found.outputs
    }
    answers = {name for name in needed if not _is_metric(wires[name].op, 0)}
    asked = {each for name in answers for each in needed[name]}
    kept = [name for name in found.outputs if name in answers or needed[name] <= asked]

    if not answers and len(found.inputs) > 1:
        raise InvalidModel(
            f"Only a measure comes out of the graph ('{found.outputs[0]}'), such as a "
            f"loss, of what it takes ({', '.join(found.inputs)}). Say in the TOML file "
            "beside it what it is to answer: [signatures.serving_default] with "
            'outputs = ["the name of a node"].'
        )

    if not answers:
        return found

    inputs = sorted({each for name in kept for each in needed[name]})
    return replace(found, inputs=tuple(inputs), outputs=tuple(kept))


def drop_unsaved(operations: list[Operation], found: Found, unsaved: set[str]) -> Found:
    """Without outputs that need a variable that the checkpoint doesn't hold.

    Such are the counters of running measures, which are local to a session. Where all
    outputs need one, `found` stays as it is.
    """
    feedable = feedable_tensors(operations)
    wires = {wire.name: wire for each in operations for wire in each.outputs}
    told = [name for name in found.outputs if not _needs(wires[name].op, unsaved)]

    if not told:
        return found

    inputs = sorted(
        {each.name for name in told for each in inputs_of([wires[name]], feedable)}
    )
    return replace(found, inputs=tuple(inputs), outputs=tuple(told))


def _needs(operation: Operation, names: set[str]) -> bool:
    seen: set[Operation] = set()
    waiting = [operation]

    while waiting:
        each = waiting.pop()

        if each.name in names:
            return True

        if each not in seen:
            seen.add(each)
            waiting += [*each.control_inputs, *(wire.op for wire in each.inputs)]

    return False


def _is_metric(operation: Operation, steps: int) -> bool:
    """Tell a mean or a sum, named afterwards or added to others, as a loss is."""
    if operation.type in _MEANS:
        return True

    return (
        operation.type in _ADDED
        and steps < _MAX_STEPS
        and any(_is_metric(each.op, steps + 1) for each in operation.inputs)
    )


def _idle(operations: list[Operation]) -> set[Operation]:
    """Operations without outputs that only group others for somebody to run."""
    idle: set[Operation] = set()
    waiting = [each for each in operations if each.type == "NoOp" and not each.waiting]

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
    """Tell what updates, saves or reports, or is a gradient: some nobody uses."""
    kind = operation.type
    reports = kind in _SAVES or "Summary" in kind
    return reports or changes_state(operation) or bool(_GRADIENT.match(operation.name))
