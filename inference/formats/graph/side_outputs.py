"""Side outputs of a graph: sizes, assertions and switches passed through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.backend import tf
from inference.formats.graph.control_flow import SWITCHES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.formats.graph.topology import Wire

_CHECKS = {"CheckNumerics", "CheckNumericsV2"}
_CHOOSING = SWITCHES | {"If", "StatelessIf"}
_GUARD = "/AssertGuard"
"""TensorFlow 2's name for the branch that it puts an assertion in."""

_FORWARDING = {"Identity", "LogicalNot"}
_SIZES = {"Rank", "Shape", "ShapeN", "Size"}
_TRUTHS = {"Identity", "If", "StatelessIf"}


def drop_side_outputs(outputs: list[Wire], feedable: Mapping[str, Wire]) -> list[Wire]:
    """Return `outputs` without sizes, passed switches and assertions.

    Return all of them if nothing else is left.
    """
    kept = [
        tensor
        for tensor in outputs
        if tensor.op.type not in _SIZES
        and not _is_switch(tensor, feedable)
        and not _is_assertion(tensor)
    ]
    return kept or outputs


def _is_switch(tensor: Wire, feedable: Mapping[str, Wire]) -> bool:
    """Return whether an input is passed through or negated, as a `pred_id` is."""
    passed = False

    while tensor.name not in feedable and tensor.op.type in _FORWARDING:
        if not tensor.op.inputs:
            return False

        tensor, passed = tensor.op.inputs[0], True

    return passed and tensor.name in feedable and _steers(tensor)


def _steers(tensor: Wire) -> bool:
    """Return whether it is a boolean that selects a branch somewhere."""
    waiting = [tensor] if tensor.dtype == tf.bool else []

    while waiting:
        for reader in waiting.pop().consumers():
            if reader.type in _CHOOSING:
                return True

            waiting += reader.outputs if reader.type in _FORWARDING else []

    return False


def _is_assertion(tensor: Wire) -> bool:
    """Return whether it is of an assertion: waited for and never read."""
    operation = tensor.op
    waited = bool(operation.waiting) or _GUARD in operation.name
    truth = operation.type in _TRUTHS and tensor.dtype == tf.bool
    return waited and (truth or operation.type in _CHECKS)
