"""The precision in which a graph computes each of its outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.formats.graph.graphdef import nodes_by_name, reachable, used_functions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from inference.types import Signature

_EXACT = frozenset(
    {
        "Const",
        "ExpandDims",
        "Identity",
        "IdentityN",
        "Placeholder",
        "PlaceholderWithDefault",
        "ReadVariableOp",
        "Reshape",
        "ResourceGather",
        "Squeeze",
        "Transpose",
        "VarHandleOp",
    }
)
"""Operations that pass values on unchanged, so they round nothing in any dtype."""


def rounding(graph_def: Any, signature: Signature) -> Mapping[str, int]:
    """Return, by output, the bytes of the narrowest float on the way to it.

    8 where nothing is rounded. A mixed-precision model returns in float32 what it
    computed in float16: two correct kernels differ by a rounding of the latter.
    """
    nodes = nodes_by_name(graph_def)
    bodies = {each.signature.name: each for each in graph_def.library.function}

    def narrowest(tensor: str) -> int:
        near = [nodes[name] for name in reachable(nodes, [tensor])]
        called = used_functions(near, graph_def.library)
        inside = (node for name in called for node in bodies[name].node_def)
        return min(_widths((*near, *inside)), default=8)

    return {name: narrowest(spec.tensor) for name, spec in signature.outputs.items()}


def _widths(nodes: Iterable[Any]) -> Iterator[int]:
    for node in nodes:
        if node.op not in _EXACT:
            yield from map(_float_bytes, _computed(node))


def _computed(node: Any) -> Iterable[int]:
    # Weights kept as float16 are widened without loss.
    if node.op == "Cast":
        return [node.attr["DstT"].type]

    return [value.type for value in node.attr.values() if value.type]


def _float_bytes(kind: int) -> int:
    dtype = tf.dtypes.as_dtype(kind)
    return max(2, int(dtype.size)) if dtype.is_floating else 8
