"""Channels-first operations made channels last: TensorFlow has no CPU kernels for them.

oneDNN runs some of them on some machines; outputs mustn't depend on that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.kernels.layout_rules import LAYOUT_RULES
from inference.formats.kernels.layouts import Layouts, to_last
from inference.formats.kernels.scopes import attribute

if TYPE_CHECKING:
    from inference.formats.kernels.scopes import Scope

FORMATS = {"CHANNELS_FIRST": "CHANNELS_LAST", "NCDHW": "NDHWC", "NCHW": "NHWC"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutKind:
    """Which inputs of an operation are images, and which are sizes of images.

    Its first output is an image. Attributes with one number, or two, for each dimension
    aren't listed: `_PER_DIMENSION` has them all.
    """

    images: tuple[int, ...] = (0,)
    sizes: tuple[int, ...] = ()


_IMAGE = LayoutKind()
_BACKWARDS = LayoutKind(images=(2,), sizes=(0,))

KINDS = {
    # tensorflow/core/ops/nn_ops.cc: `input`, then filters and the like, which have
    # one layout for both formats.
    "AvgPool": _IMAGE,
    "AvgPool3D": _IMAGE,
    # Of any rank; its format is a word.
    "Conv": _IMAGE,
    "Conv2D": _IMAGE,
    "Conv3D": _IMAGE,
    "DepthwiseConv2dNative": _IMAGE,
    "FusedBatchNorm": _IMAGE,
    "FusedBatchNormV2": _IMAGE,
    "FusedBatchNormV3": _IMAGE,
    "MaxPool": _IMAGE,
    "MaxPool3D": _IMAGE,
    # `ksize` and `strides` are inputs.
    "MaxPoolV2": LayoutKind(sizes=(1, 2)),
    # Transposed: `input_sizes`, `filter`, `out_backprop`.
    "Conv2DBackpropInput": _BACKWARDS,
    "Conv3DBackpropInputV2": _BACKWARDS,
    "DepthwiseConv2dNativeBackpropInput": _BACKWARDS,
    # Used by Grad-CAM and the like: `orig_input`, `orig_output`, `grad`.
    "AvgPoolGrad": LayoutKind(images=(1,), sizes=(0,)),
    "MaxPoolGrad": LayoutKind(images=(0, 1, 2)),
    # array_ops.cc: both formats order a block's positions before its channels.
    "DepthToSpace": _IMAGE,
    "SpaceToDepth": _IMAGE,
    # Made by TensorFlow's optimiser; see `_is_fused_sum`.
    "_FusedConv2D": _IMAGE,
    "_FusedDepthwiseConv2dNative": _IMAGE,
}

KEPT = {"BiasAdd", "BiasAddGrad"}
"""Operations whose CPU kernels support channels first."""

_PER_DIMENSION = ("dilations", "explicit_paddings", "ksize", "strides")


def is_channels_first(node: Any) -> bool:
    name = node.attr["data_format"].s if "data_format" in node.attr else b""
    return name.startswith((b"NC", b"CHANNELS_FIRST")) and node.op not in KEPT


def to_channels_last(scope: Scope) -> int:
    """Rewrite `scope`; return the number of channels-first operations.

    Each gets transpositions around it, which cancel between neighbours and pass through
    elementwise operations. Raise `InvalidModel` for an operation that can't be
    rewritten.
    """
    layouts = Layouts(scope)
    count = 0

    for node in scope.ordered():
        layouts.learn(node)

        if is_channels_first(node):
            _rewrite(node, layouts)
            count += 1
        elif node.op in LAYOUT_RULES:
            LAYOUT_RULES[node.op](node, layouts)

    layouts.finish()
    return count


def _rewrite(node: Any, layouts: Layouts) -> None:
    kind = KINDS.get(node.op)
    data_format = node.attr["data_format"].s.decode("utf-8", "replace")

    if kind is None or data_format not in FORMATS or _is_fused_sum(node):
        raise InvalidModel(_unable(node, data_format, layouts.scope))

    rank = len(node.attr["strides"].list.i) if node.op == "Conv" else len(data_format)
    last = layouts.copy(node)
    last.attr["data_format"].s = FORMATS[data_format].encode()

    for position in kind.images:
        dtype = attribute(node, "T").type
        last.input[position] = layouts.last(node.input[position], rank, dtype)

    for position in kind.sizes:
        if not _is_short(node.input[position], rank, layouts.scope):
            last.input[position] = layouts.permuted(node.input[position], rank)

    for name in _PER_DIMENSION:
        if name in last.attr:
            _permute(last.attr[name].list.i, rank)

    layouts.replace(node, last, rank)


def _permute(values: Any, rank: int) -> None:
    """Reorder numbers for each dimension, one or two, to channels last."""
    each = len(values) // rank
    positions = (place * each + part for place in to_last(rank) for part in range(each))
    values[:] = [values[position] for position in positions]


def _is_short(tensor: str, rank: int, scope: Scope) -> bool:
    """Return whether sizes are given only for the spatial axes."""
    value = scope.value(tensor)
    node = scope.producer(tensor)
    packed = node is not None and node.op == "Pack" and attribute(node, "N").i < rank
    return packed or (value is not None and value.size < rank)


def _is_fused_sum(node: Any) -> bool:
    """Return whether a second image, after the filters, is added to the result."""
    return node.op.startswith("_Fused") and b"Add" in node.attr["fused_ops"].list.s


def _unable(node: Any, data_format: str, scope: Scope) -> str:
    inside = f" in the function '{scope.place}'" if scope.place else ""
    return (
        f"Node '{node.name}'{inside} ({node.op}) has its channels first "
        f"({data_format}), which no CPU kernel supports, and it can't be rewritten to "
        "channels last. Build the model with "
        "data_format='channels_last' (NHWC), load the same weights and export it again."
    )
