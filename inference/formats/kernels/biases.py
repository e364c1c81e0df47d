"""Biases that Keras 3 adds along another dimension than its layers say.

Its `add` (keras/src/backend/tensorflow/numpy.py, 3.15.1) squeezes an operand with one
dimension other than 1, and then goes by its size: if a channels-first image is as wide
as it has channels, each column gets the bias of a channel. Its exports do the same.
TensorFlow adds the bias to the channels all the same where it fuses it with the
convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.formats.kernels.channels_first import is_channels_first
from inference.formats.kernels.scopes import attribute

if TYPE_CHECKING:
    from inference.formats.kernels.scopes import Scope


def may_be_misread(node: Any) -> bool:
    return bool(node.op == "BiasAdd" and attribute(node, "data_format").s == b"NHWC")


def fix_biases(scope: Scope) -> int:
    """Add the biases in `scope` to the channels; return how many were changed."""
    found = [node for node in scope.nodes.values() if _is_misread(node, scope)]

    for node in found:
        # The NCHW kernel accepts images of any rank.
        node.attr["data_format"].s = b"NCHW"

    return len(found)


def _is_misread(node: Any, scope: Scope) -> bool:
    if not may_be_misread(node):
        return False

    return _follows_channels_first(node, scope) or _was_squeezed(node, scope)


def _follows_channels_first(node: Any, scope: Scope) -> bool:
    """Return whether `node` adds to a channels-first convolution."""
    convolution = scope.producer(node.input[0])
    return (
        convolution is not None
        and "Conv" in convolution.op
        and is_channels_first(convolution)
    )


def _was_squeezed(node: Any, scope: Scope) -> bool:
    """Return whether the bias was along the channels before it was squeezed."""
    squeeze = scope.producer(node.input[1])

    if squeeze is None or squeeze.op != "Squeeze":
        return False

    shape = _shape(squeeze.input[0], scope)
    counting = [place for place, size in enumerate(shape) if size != 1]
    return counting == [1] and len(shape) > 2


def _shape(tensor: str, scope: Scope) -> list[int]:
    """Return the shape that Keras broadcasts to; `[]` if unknown."""
    reshape = scope.producer(tensor)

    if reshape is None or reshape.op != "Reshape":
        return []

    sizes = scope.value(reshape.input[1])
    return [] if sizes is None else [int(size) for size in sizes.reshape(-1)]
