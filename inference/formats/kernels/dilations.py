"""Dilated convolutions that only oneDNN computes, rewritten for any CPU.

A dilated filter equals a larger one with zeros in its holes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from inference.formats.kernels.scopes import attribute

if TYPE_CHECKING:
    from inference.formats.kernels.scopes import Scope

DILATED = {
    # Measured with TensorFlow 2.21 where oneDNN is off: "CPU implementations do not yet
    # support dilation rates larger than 1", and the like. Conv2D has a kernel for them.
    "Conv2DBackpropInput": 2,
    "Conv3D": 3,
    "Conv3DBackpropInputV2": 3,
    "DepthwiseConv2dNative": 2,
    "DepthwiseConv2dNativeBackpropInput": 2,
}
"""The number of spatial axes by operation. Its second input is the filter."""

_MAX_RATE = 16
"""The largest rate to rewrite: a filter grows with it."""


def is_dilated(node: Any) -> bool:
    return node.op in DILATED and any(1 < rate <= _MAX_RATE for rate in _rates(node))


def fill_dilations(scope: Scope) -> int:
    """Rewrite `scope`; return the number of dilated convolutions."""
    dilated = [node for node in scope.nodes.values() if is_dilated(node)]

    for node in dilated:
        _fill(node, scope)

    return len(dilated)


def _rates(node: Any) -> list[int]:
    """Return the dilation of each spatial axis; `[]` if it isn't to be rewritten."""
    last = attribute(node, "data_format").s.endswith(b"C")
    rates = list(attribute(node, "dilations").list.i)
    rates = rates[1:-1] if last else rates[2:]
    return rates if len(rates) == DILATED[node.op] and max(rates) <= _MAX_RATE else []


def _fill(node: Any, scope: Scope) -> None:
    whole = _whole(tuple(_rates(node)), node.attr["T"].type)
    names = scope.graft(whole, {"filter": node.input[1]}, f"{node.name}/holes")
    node.input[1] = names["whole"]
    dilations = node.attr["dilations"].list.i
    dilations[:] = [1] * len(dilations)


@cache
def _whole(rates: tuple[int, ...], dtype: int) -> Any:
    """Return a GraphDef that puts zeros between the numbers of `filter`."""
    shape = [None] * (len(rates) + 2)

    with tf.Graph().as_default() as graph:
        filters = tf1.placeholder(tf.dtypes.as_dtype(dtype), shape, name="filter")

        for axis, rate in enumerate(rates):
            filters = _spread(filters, axis, rate)

        tf.identity(filters, name="whole")

    return graph.as_graph_def()


def _spread(filters: Any, axis: int, rate: int) -> Any:
    """Put `rate - 1` zeros behind each number along `axis`, except the last."""
    shape = tf.shape(filters)
    behind = [[0, 0]] * (len(filters.shape) + 1)
    behind[axis + 1] = [0, rate - 1]
    spread = tf.pad(tf.expand_dims(filters, axis + 1), behind)
    size = shape[axis] * rate
    long = tf.reshape(spread, tf.concat([shape[:axis], [size], shape[axis + 1 :]], 0))
    return tf.gather(long, tf.range(size - (rate - 1)), axis=axis)
