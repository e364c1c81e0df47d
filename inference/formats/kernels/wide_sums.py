"""Sums of many float16 or bfloat16 values, accumulated in float32.

TensorFlow's CPU kernels accumulate in the tensors' dtype and lose most terms: a float16
sum of ones stops at 2,048, a bfloat16 one at 256.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf, tf1
from inference.formats.kernels.scopes import attribute, copy_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.formats.kernels.scopes import Scope

_FLOAT32 = tf.float32.as_datatype_enum
_FLOAT16 = frozenset({tf.float16.as_datatype_enum})
_BFLOAT16 = frozenset({tf.bfloat16.as_datatype_enum})
_BOTH = _FLOAT16 | _BFLOAT16

NARROW = {
    # Measured with TensorFlow 2.21 against float64, oneDNN off: 12,544 numbers of about
    # 0.1, along the summed dimension. In bfloat16 these are correct.
    "EuclideanNorm": _FLOAT16,
    "Mean": _FLOAT16,
    "Sum": _FLOAT16,
    # In float16 these are correct.
    "BiasAddGrad": _BFLOAT16,
    "SparseTensorDenseMatMul": _BFLOAT16,
    "CumulativeLogsumexp": _BOTH,
    "Cumprod": _BOTH,
    "Cumsum": _BOTH,
    "Prod": _BOTH,
    "ScatterNd": _BOTH,
    "SegmentMean": _BOTH,
    "SegmentProd": _BOTH,
    "SegmentSum": _BOTH,
    "TensorScatterAdd": _BOTH,
    "TensorScatterSub": _BOTH,
    "UnsortedSegmentProd": _BOTH,
    "UnsortedSegmentSum": _BOTH,
    # By the window: the count, too, is kept in the image's dtype.
    "AvgPool": _BOTH,
    "AvgPool3D": _BOTH,
    "AvgPoolGrad": _BOTH,
    # These have no kernel at all.
    "LRN": _BFLOAT16,
    "MaxPool3D": _FLOAT16,
    # By the filter: 7 units of the last place at 15×15, 100 at 63×63.
    "DepthwiseConv2dNative": _BOTH,
    "DepthwiseConv2dNativeBackpropInput": _BOTH,
}
"""Dtypes in which an operation is wrong or missing.

Some `Einsum`s are wrong, too. Matrix products, softmax, other convolutions, batch norm
and sparse segments were correct in both dtypes.
"""


def is_narrow(node: Any) -> bool:
    """Return whether `node` would lose terms of long sums."""
    if node.op == "Einsum":
        return attribute(node, "T").type in _FLOAT16 and _sums_one(_equation(node))

    return node.op in NARROW and attribute(node, "T").type in NARROW[node.op]


def _equation(node: Any) -> str:
    return str(attribute(node, "equation").s, "ascii", "replace")


def _sums_one(equation: str) -> bool:
    """Return whether an operand is summed along an index that no other has.

    Indices of two operands are summed by a matrix product, which is correct.
    """
    operands, _, result = equation.replace(" ", "").replace("...", "").partition("->")
    terms = [set(operand) for operand in operands.split(",")]
    counts = Counter(index for term in terms for index in term)
    return any(count == 1 and index not in result for index, count in counts.items())


def widen(scope: Scope) -> int:
    """Rewrite `scope`; return the number of operations computed in float32."""
    narrow = [node for node in scope.nodes.values() if is_narrow(node)]

    for node in narrow:
        _widen(node, scope)

    return len(narrow)


def _widen(node: Any, scope: Scope) -> None:
    dtype = node.attr["T"].type
    wide = copy_of(node, f"{node.name}/in_float32")
    wide.attr["T"].type = _FLOAT32

    for position, argument in enumerate(_arguments(node)):
        if argument.type_attr == "T":
            given = node.input[position]
            cast = _cast(f"{node.name}/float32_{position}", given, dtype, _FLOAT32)
            wide.input[position] = scope.add(cast, given)

    # The name stays, so that no reader changes.
    summed = scope.add(wide, node.input[0])
    node.CopyFrom(_cast(node.name, summed, _FLOAT32, dtype))


def _arguments(node: Any) -> Iterator[Any]:
    """Yield the argument of each input: a list of tensors is one argument."""
    for argument in op_def_registry.get(node.op).input_arg:
        number = argument.number_attr
        yield from [argument] * (attribute(node, number).i if number else 1)


def _cast(name: str, tensor: str, source: int, target: int) -> Any:
    node = tf1.NodeDef(name=name, op="Cast", input=[tensor])
    node.attr["SrcT"].type = source
    node.attr["DstT"].type = target
    return node
