"""What of a training graph only trains, saves and reports: left out before all else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from inference.sources.branch_cut import remove, with_sources
from inference.sources.training import changes_state
from inference.sources.wiring import followers, operations

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.sources.wiring import Operation

# tf.gradients makes all of its operations in a scope of this name.
_GRADIENT = re.compile(r"(.*/)?gradients(_\d+)?/")
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
