"""Batch norm's scale folded into the depthwise convolution before it.

TensorFlow's optimiser folds it into other convolutions. After a depthwise one it leaves
a multiplication, which also keeps the next operations from being fused.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.formats.graph.graphdef import node_of, nodes_by_name
from inference.formats.graph.nodes import become_identity, constant_node

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.types import Array

DEPTHWISE = "DepthwiseConv2dNative"


def fold_scales(graph_def: Any, kept: Sequence[str]) -> None:
    """Turn `Mul(depthwise(x, filter), scale)` into `depthwise(x, filter * scale)`.

    In place, where filter and scale are constants and the unscaled product has no other
    reader. `kept` are the tensors that a client may fetch.
    """
    nodes = nodes_by_name(graph_def)
    uses = Counter(tensor for node in graph_def.node for tensor in node.input)
    wanted = {node_of(tensor) for tensor in kept}
    added = []

    for node in graph_def.node:
        found = _scaled_convolution(node, nodes) if node.op == "Mul" else None

        if found is None or found[0].name in wanted or uses[found[0].name] != 1:
            continue

        convolution, scale = found
        filters = _constant(nodes, convolution.input[1])
        folded = _folded(filters, scale)

        if folded is not None:
            added.append(constant_node(f"{node.name}/folded", folded))
            convolution.input[1] = added[-1].name
            become_identity(node, convolution.name)

    graph_def.node.extend(added)


def _scaled_convolution(node: Any, nodes: dict[str, Any]) -> tuple[Any, Array] | None:
    """Return the convolution and the constant that a `Mul` multiplies."""
    for first, second in (node.input[:2], reversed(node.input[:2])):
        convolution, scale = nodes.get(first), _constant(nodes, second)

        if (
            scale is not None
            and convolution is not None
            and convolution.op == DEPTHWISE
            and convolution.attr["data_format"].s in (b"", b"NHWC")
        ):
            return convolution, scale

    return None


def _folded(filters: Array | None, scale: Array) -> Array | None:
    """Return `filters` [height, width, channels, multiplier] times a scale per output.

    `None` unless the scale is one number for each output channel.
    """
    if filters is None or filters.ndim != 4:
        return None

    outputs = filters.shape[2] * filters.shape[3]

    if scale.size != outputs or scale.shape[-1:] != (outputs,):
        return None

    product: Array = filters * scale.reshape(filters.shape[2:])
    return product.astype(filters.dtype)


def _constant(nodes: dict[str, Any], tensor: str) -> Array | None:
    node = nodes.get(tensor)

    if node is None or node.op != "Const":
        return None

    value: Array = tf.make_ndarray(node.attr["value"].tensor)
    return value
