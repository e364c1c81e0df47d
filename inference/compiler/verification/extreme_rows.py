"""Rows of unusual values: one may change the answers of those it is joined with.

A graph that scales its pictures only `if tf.reduce_max(x) > 1` answers each row as it
should, until a row that is over the bound is run together with rows below it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf
from inference.formats.graph.graphdef import all_nodes, node_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inference.types import Array, Signature

_COMPARISONS = {"Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"}
_CHOICES = {
    *("Case", "If", "StatelessCase", "StatelessIf", "Switch", "RefSwitch"),
    *("Select", "SelectV2", "StatelessWhile", "While"),
}
USUAL = (0.0, 1.0, 255.0)
_LARGE = (-1e4, 1e4)
_MOST = 24

# They get through where a bound is scaled, a vector, or a Maximum: what is computed
# from all rows becomes infinite, or no number, and so do the rows that it reaches.
_BEYOND = (np.inf, -np.inf, np.nan, 1e30, -1e30)

_FRAGILE = (
    *("CombinedNonMaxSuppression", "CropAndResize", "ExtractGlimpse"),
    *("GenerateBoundingBoxProposals", "ImageProjectiveTransform", "NonMaxSuppression"),
    *("Eig", "MatrixLogarithm", "MatrixSquareRoot", "Qr", "SelfAdjointEig", "Svd"),
)
"""Begin the names of operations whose kernels may not expect such numbers."""


def extreme_values(graph_def: Any) -> tuple[float, ...]:
    """Return values that may decide what a graph does; none where nothing decides."""
    nodes = list(all_nodes(graph_def))

    if not any(node.op in _COMPARISONS | _CHOICES for node in nodes):
        return ()

    bounds = dict.fromkeys(_bounds(graph_def.node))

    for function in graph_def.library.function:
        bounds |= dict.fromkeys(_bounds(function.node_def))

    around = [value for bound in bounds for value in (bound, bound - 1, bound + 1)]
    return tuple(dict.fromkeys((*USUAL, *_LARGE, *around)))[:_MOST]


def values_beyond(graph_def: Any) -> tuple[float, ...]:
    """Return values over any bound; none where a kernel may not stand them."""
    fragile = any(node.op.startswith(_FRAGILE) for node in all_nodes(graph_def))
    return () if fragile else _BEYOND


def filled_with(
    value: float, signature: Signature, row: Mapping[str, Array]
) -> dict[str, Array]:
    """Return `row` with all numbers of its required inputs replaced by `value`."""
    return {
        name: _filled(array, value) if signature.inputs[name].required else array
        for name, array in row.items()
    }


def _bounds(nodes: Any) -> Iterator[float]:
    by_name = {node.name: node for node in nodes}

    for node in nodes:
        if node.op in _COMPARISONS:
            for tensor in node.input:
                bound = _scalar(by_name.get(node_of(tensor)))

                if bound is not None:
                    yield bound


def _scalar(node: Any) -> float | None:
    if node is None or node.op != "Const" or node.attr["value"].tensor.tensor_shape.dim:
        return None

    value = tf.make_ndarray(node.attr["value"].tensor)
    return float(value) if value.dtype.kind in "iuf" else None


def _filled(array: Array, value: float) -> Array:
    # NumPy has bfloat16 and its like as kind V.
    if array.dtype.kind not in "iufV":
        return array

    if array.dtype.kind in "iu":
        limits = np.iinfo(array.dtype)
        value = 0 if np.isnan(value) else min(max(value, limits.min), limits.max)
        # As a float the largest 64-bit number is one too large.
        return np.full_like(array, min(int(value), int(limits.max)))

    with np.errstate(over="ignore"):
        return np.full_like(array, value)
