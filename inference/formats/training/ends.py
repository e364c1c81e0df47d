"""Removal of operations of a training graph that only train, save and report."""

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
_DERIVED = {
    *("Cast", "Div", "DivNoNan", "Maximum", "Neg", "RealDiv", "Select", "SelectV2"),
    *("Sqrt", "Squeeze", "Sub"),
}
_MEANS = {"Mean", "Sum"}
_MAX_STEPS = 20
_WRAPPING = {"Identity", "Log", "Log1p", "Maximum", "Minimum", "Reshape"}
_RESTORES = {"Restore", "RestoreSlice", "RestoreV2"}
_VARIABLES = {"VarHandleOp", "Variable", "VariableV2"}
_SAVES = {"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"}


def drop_training_ends(graph_def: Any, also: Iterable[str]) -> None:
    """Drop operations that only updates, saves and summaries need, in place.

    `also` are the nodes of the saver.
    """
    named = set(also)
    operations = read_operations(graph_def)
    trains = _with_users(each for each in operations if _is_gradient(each))
    fed = _computed_from_inputs(operations)
    idle = _idle(operations)
    ends = [
        each
        for each in operations
        if each.name in named
        or each in trains
        or _only_trains(each)
        # Such as the powers that Adam keeps, computed after its updates.
        or each not in fed
    ]
    removed: set[Operation] = set()
    size = -1

    # An operation that waits for another is removed after it.
    while size < len(removed):
        size = len(removed)
        removed |= {each for each in ends if followers(each) <= removed | idle}

    gone = with_sources(removed | idle) if removed else idle
    left = [each for each in operations if each not in gone]

    if not feedable_tensors(left):
        # A loss that only updates and summaries need must not take the model along.
        gone = with_sources(removed | idle, keep=fed)

    remove(graph_def, {each.name for each in gone})


def drop_metrics(operations: list[Operation], found: Found) -> Found:
    """Return `found` without losses and metrics: means that need extra inputs.

    Such an input holds labels. Raise `InvalidModel` if metrics are the only outputs and
    there seem to be labels.
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
        likely = _compared(operations, [wires[name].op for name in found.inputs])
        seen = f" It is computed from '{likely}'." if likely else ""
        raise InvalidModel(
            f"The only output of the graph is a metric ('{found.outputs[0]}'), such as "
            f"a loss, of its inputs ({', '.join(found.inputs)}).{seen} Name the "
            "outputs to serve in the TOML file beside it: [signatures.serving_default] "
            f'with outputs = ["{likely or "the name of a node"}"].'
        )

    if not answers:
        return found

    inputs = sorted({each for name in kept for each in needed[name]})
    return replace(found, inputs=tuple(inputs), outputs=tuple(kept))


def _compared(operations: list[Operation], inputs: list[Operation]) -> str | None:
    """Return the node that labels are compared with, if it can be found.

    Labels are the inputs that reach no variable before other inputs' results.
    """
    weights = _with_users(each for each in operations if each.type in _VARIABLES)
    weights -= _with_users(inputs)
    features = [each for each in inputs if _meets(_with_users([each]), weights)]
    labels = _with_users(each for each in inputs if each not in features)
    answers = _with_users(features) - labels
    compared = [each for each in operations if each in answers]
    compared = [each for each in compared if followers(each) & labels]
    return _before_logarithms(compared[-1]).name if compared else None


def _meets(users: set[Operation], weights: set[Operation]) -> bool:
    """Return whether a weight is applied, other than as a penalty added to a loss."""
    return any(
        wire.op in weights
        for each in users
        if not _is_metric(each, 0)
        for wire in each.inputs
    )


def _before_logarithms(operation: Operation) -> Operation:
    while operation.type in _WRAPPING and operation.inputs:
        operation = operation.inputs[0].op

    return operation


def drop_unsaved(operations: list[Operation], found: Found, unsaved: set[str]) -> Found:
    """Return `found` without outputs that need a variable without a saved value.

    Such are the counters of running metrics, which are local to a session. If all
    outputs need one, `found` stays as it is.
    """
    feedable = feedable_tensors(operations)
    wires = {wire.name: wire for each in operations for wire in each.outputs}
    kept = [name for name in found.outputs if not _needs(wires[name].op, unsaved)]

    if not kept:
        return found

    inputs = sorted(
        {each.name for name in kept for each in inputs_of([wires[name]], feedable)}
    )
    return replace(found, inputs=tuple(inputs), outputs=tuple(kept))


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
    """Return whether it is a mean or a sum, named or computed with, as a loss is."""
    if operation.type in _MEANS:
        return True

    if steps == _MAX_STEPS:
        return False

    if operation.type in _ADDED:
        return any(_is_metric(each.op, steps + 1) for each in operation.inputs)

    return operation.type in _DERIVED and all(
        each.op.type == "Const" or _is_metric(each.op, steps + 1)
        for each in operation.inputs
    )


def _idle(operations: list[Operation]) -> set[Operation]:
    """Return operations without outputs that only group others to be run."""
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
    """Return whether it updates, saves or reports, or only waits for such."""
    kind = operation.type
    reports = kind in _SAVES or "Summary" in kind or kind == "NoOp"
    return reports or changes_state(operation)


def _computed_from_inputs(operations: list[Operation]) -> set[Operation]:
    """Return the operations that inputs reach, except the saver's file name."""
    reached = [_with_users([wire.op]) for wire in feedable_tensors(operations).values()]
    return {
        each
        for users in reached
        if not any(user.type in _SAVES | _RESTORES for user in users)
        for each in users
    }


def _is_gradient(operation: Operation) -> bool:
    return bool(_GRADIENT.match(operation.name))


def _with_users(operations: Iterable[Operation]) -> set[Operation]:
    """Return `operations` and all that is computed from them."""
    found: set[Operation] = set()
    waiting = list(operations)

    while waiting:
        operation = waiting.pop()

        if operation not in found:
            found.add(operation)
            waiting += [each for wire in operation.outputs for each in wire.readers]

    return found
