"""Ends of a graph that answer nothing: what its author looked at on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.backend import tf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.sources.wiring import Wire

_HANDING_ON = {"Identity", "LogicalNot"}
_SIZES = {"Rank", "Shape", "ShapeN", "Size"}


def telling(outputs: list[Wire], feedable: Mapping[str, Wire]) -> list[Wire]:
    """Leave out sizes, and switches that are only handed on, if there is more."""
    kept = [
        tensor
        for tensor in outputs
        if tensor.op.type not in _SIZES and not _is_switch(tensor, feedable)
    ]
    return kept or outputs


def _is_switch(tensor: Wire, feedable: Mapping[str, Wire]) -> bool:
    """Tell an input that comes out as it went in, or negated: a `pred_id`."""
    passed = False

    while tensor.name not in feedable and tensor.op.type in _HANDING_ON:
        if not tensor.op.inputs:
            return False

        tensor, passed = tensor.op.inputs[0], True

    return passed and tensor.name in feedable and tensor.dtype == tf.bool
