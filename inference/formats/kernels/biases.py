"""Biases that Keras 3 adds along another dimension than its layers say.

Its `add` (keras/src/backend/tensorflow/numpy.py, 3.15.1) squeezes what has one
dimension that counts, and then goes by its size: where a picture with its channels
first is as wide as it has channels, each column gets the bias of a channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf1
from inference.formats.kernels.scopes import attribute

if TYPE_CHECKING:
    from inference.formats.kernels.scopes import Scope


def is_bias_add(node: Any) -> bool:
    return bool(node.op == "BiasAdd")


def fix_biases(scope: Scope) -> int:
    """Add in `scope` what was squeezed as it stood before; the number of biases."""
    found = {
        node.name: whole
        for node in scope.nodes.values()
        if is_bias_add(node) and (whole := _misread(node, scope))
    }

    for name, whole in found.items():
        _add(scope.nodes[name], whole)

    return len(found)


def _misread(node: Any, scope: Scope) -> str | None:
    """The bias as it was before it was squeezed, where it is added elsewhere."""
    squeeze = scope.producer(node.input[1])

    if squeeze is None or squeeze.op != "Squeeze":
        return None

    shape = _shape(squeeze.input[0], scope)
    counting = [place for place, size in enumerate(shape) if size != 1]

    if len(counting) != 1:
        return None

    last = attribute(node, "data_format").s == b"NHWC"
    meant = counting[0] == (len(shape) - 1 if last else 1)
    return None if meant else squeeze.input[0]


def _shape(tensor: str, scope: Scope) -> list[int]:
    """Of what Keras reshapes to broadcast it; nothing where that can't be told."""
    reshape = scope.producer(tensor)

    if reshape is None or reshape.op != "Reshape":
        return []

    sizes = scope.value(reshape.input[1])
    return [] if sizes is None else [int(size) for size in sizes.reshape(-1)]


def _add(node: Any, whole: str) -> None:
    controls = [each for each in node.input if each.startswith("^")]
    added = tf1.NodeDef(name=node.name, op="AddV2")
    added.input.extend([node.input[0], whole, *controls])
    added.attr["T"].CopyFrom(node.attr["T"])
    node.CopyFrom(added)
