"""Ends of a graph that answer nothing: what its author looked at on the way."""

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
"""TensorFlow 2's own name for the branch that it puts an assertion in."""

_FORWARDING = {"Identity", "LogicalNot"}
_SIZES = {"Rank", "Shape", "ShapeN", "Size"}
_TRUTHS = {"Identity", "If", "StatelessIf"}


def drop_side_outputs(outputs: list[Wire], feedable: Mapping[str, Wire]) -> list[Wire]:
    """Leave out sizes, switches handed on, and assertions, if there is more."""
    kept = [
        tensor
        for tensor in outputs
        if tensor.op.type not in _SIZES
        and not _is_switch(tensor, feedable)
        and not _is_assertion(tensor)
    ]
    return kept or outputs


def _is_switch(tensor: Wire, feedable: Mapping[str, Wire]) -> bool:
    """Tell an input that comes out as it went in, or negated: a `pred_id`."""
    passed = False

    while tensor.name not in feedable and tensor.op.type in _FORWARDING:
        if not tensor.op.inputs:
            return False

        tensor, passed = tensor.op.inputs[0], True

    return passed and tensor.name in feedable and _steers(tensor)


def _steers(tensor: Wire) -> bool:
    """Tell a truth that also chooses a branch somewhere."""
    waiting = [tensor] if tensor.dtype == tf.bool else []

    while waiting:
        for reader in waiting.pop().consumers():
            if reader.type in _CHOOSING:
                return True

            waiting += reader.outputs if reader.type in _FORWARDING else []

    return False


def _is_assertion(tensor: Wire) -> bool:
    """Tell what TensorFlow makes of an assertion: others wait for it, none read it."""
    operation = tensor.op
    waited = bool(operation.waiting) or _GUARD in operation.name
    truth = operation.type in _TRUTHS and tensor.dtype == tf.bool
    return waited and (truth or operation.type in _CHECKS)
