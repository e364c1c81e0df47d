"""Rules for operations that are elementwise, or that name dimensions.

They are rewritten to channels last only if their inputs have such a form; otherwise
they stay as they are, which is correct too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.formats.kernels.layouts import last_axis, to_first, to_last
from inference.formats.kernels.scopes import attribute, input_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from inference.formats.kernels.layouts import Layouts

    Pass = Callable[[Any, Layouts], None]


def _alike(node: Any, layouts: Layouts, positions: Iterable[int]) -> None:
    """Rewrite an operation that is elementwise over its inputs at `positions`."""
    positions = [each for each in positions if each < _count(node)]
    rank = layouts.common_rank(node.input[each] for each in positions)

    if rank is None:
        return

    dtype = input_dtype(node)
    last = layouts.copy(node)

    for position in positions:
        tensor = layouts.operand(node.input[position], rank, dtype)

        if tensor is None:
            return

        last.input[position] = tensor

    layouts.replace(node, last, rank)


def _first(node: Any, layouts: Layouts) -> None:
    _alike(node, layouts, (0,))


def _all(node: Any, layouts: Layouts) -> None:
    _alike(node, layouts, range(_count(node)))


def _bias(node: Any, layouts: Layouts) -> None:
    """Rewrite a bias, which has one dimension in both formats."""
    rank = layouts.rank(node.input[0])

    if rank is None or attribute(node, "data_format").s != b"NCHW":
        return

    last = layouts.copy(node)
    last.input[0] = layouts.known(node.input[0])
    last.attr["data_format"].s = b"NHWC"
    layouts.replace(node, last, rank)


def _join(node: Any, layouts: Layouts) -> None:
    """Rewrite `ConcatV2`: any number of images, then the dimension."""
    axis = layouts.scope.value(node.input[_count(node) - 1])
    images = range(_count(node) - 1)
    rank = layouts.common_rank(node.input[each] for each in images)

    if axis is None or rank is None:
        return

    last = layouts.copy(node)

    for each in images:
        last.input[each] = layouts.last(node.input[each], rank, input_dtype(node))

    _set_axes(node, last, layouts, len(images), last_axis(int(axis), rank))
    layouts.replace(node, last, rank)


def _pad(node: Any, layouts: Layouts) -> None:
    rank = layouts.rank(node.input[0])

    if rank is None:
        return

    last = layouts.copy(node)
    last.input[0] = layouts.known(node.input[0])
    last.input[1] = layouts.permuted(node.input[1], rank)
    layouts.replace(node, last, rank)


def _reduce(node: Any, layouts: Layouts) -> None:
    rank = layouts.rank(node.input[0])
    axes = layouts.scope.value(node.input[1])

    if rank is None or axes is None:
        return

    last = layouts.copy(node)
    last.input[0] = layouts.known(node.input[0])
    reduced = [last_axis(int(each), rank) for each in axes.reshape(-1)]
    _set_axes(node, last, layouts, 1, reduced if axes.ndim else reduced[0])

    if attribute(node, "keep_dims").b:
        layouts.replace(node, last, rank)
    elif _in_order(reduced, rank):
        layouts.replace_same(node, last)
    elif not {0, rank - 1} & set(reduced):
        layouts.replace(node, last, rank - len(set(reduced)))


def _squeeze(node: Any, layouts: Layouts) -> None:
    rank = layouts.rank(node.input[0])
    axes = attribute(node, "squeeze_dims").list.i

    # Batch and channels stay where they are.
    if rank is None or not axes or {each % rank for each in axes} & {0, 1}:
        return

    last = layouts.copy(node)
    last.input[0] = layouts.known(node.input[0])
    last.attr["squeeze_dims"].list.i[:] = [last_axis(each, rank) for each in axes]
    left = rank - len(axes)

    if left > 2:
        layouts.replace(node, last, left)
    else:
        layouts.replace_same(node, last)


def _expand(node: Any, layouts: Layouts) -> None:
    rank = layouts.rank(node.input[0])
    axis = layouts.scope.value(node.input[1])

    if rank is None or axis is None or int(axis.reshape(())) % (rank + 1) < 2:
        return

    last = layouts.copy(node)
    last.input[0] = layouts.known(node.input[0])
    moved = last_axis(int(axis.reshape(())), rank + 1)
    _set_axes(node, last, layouts, 1, moved)
    layouts.replace(node, last, rank + 1)


def _shape(node: Any, layouts: Layouts) -> None:
    rank = layouts.rank(node.input[0])

    if rank is None:
        return

    last = layouts.copy(node)
    last.input[0] = layouts.known(node.input[0])
    shape = layouts.add(last, node.input[0])
    layouts.replace_same(node, layouts.gather(shape, to_first(rank)))


def _transpose(node: Any, layouts: Layouts) -> None:
    """Rewrite the file's own transposition: it may undo ours, or be undone later."""
    order = layouts.scope.value(node.input[1])
    rank = layouts.rank(node.input[0])

    if order is None:
        return

    if rank is None:
        if order.size > 2 and order.tolist() == to_first(order.size):
            layouts.note(f"{node.name}:0", node.input[0], int(order.size))

        return

    same = layouts.copy(node)
    same.input[0] = layouts.known(node.input[0])
    composed = [to_first(rank)[each] for each in order]
    _set_axes(node, same, layouts, 1, composed)
    layouts.replace_same(node, same)


def _set_axes(node: Any, last: Any, layouts: Layouts, position: int, axes: Any) -> None:
    dtype = layouts.scope.dtype(node.input[position])
    name = f"{node.name}/axes"
    last.input[position] = layouts.numbers(name, axes, node.input[0], dtype)


def _in_order(reduced: list[int], rank: int) -> bool:
    """Return whether the remaining dimensions have the same order in both layouts."""
    left = [each for each in to_last(rank) if last_axis(each, rank) not in reduced]
    return left == sorted(left)


def _count(node: Any) -> int:
    return sum(not tensor.startswith("^") for tensor in node.input)


def _same(rule: Pass, operations: str) -> dict[str, Pass]:
    return dict.fromkeys(operations.split(), rule)


LAYOUT_RULES: dict[str, Pass] = (
    _same(
        _first,
        """
        Abs Atan Cast Ceil Cos Elu Erf Exp Expm1 FakeQuantWithMinMaxArgs
        FakeQuantWithMinMaxVars Floor Identity IsFinite IsInf IsNan LeakyRelu Log Log1p
        LogicalNot Neg Reciprocal Relu Relu6 Rint Round Rsqrt Selu Sigmoid Sign Sin
        Softplus Softsign Sqrt Square StopGradient Tanh ZerosLike OnesLike
        """,
    )
    | _same(
        _all,
        """
        Add AddN AddV2 ClipByValue Div DivNoNan Equal FloorDiv FloorMod Greater
        GreaterEqual Less LessEqual LogicalAnd LogicalOr Maximum Minimum Mul MulNoNan
        NotEqual Pow RealDiv Relu6Grad ReluGrad SquaredDifference Sub
        """,
    )
    | _same(_bias, "BiasAdd")
    | _same(_join, "ConcatV2")
    | _same(_pad, "MirrorPad Pad PadV2")
    | _same(_reduce, "All Any Max Mean Min Prod Sum")
    | _same(_squeeze, "Squeeze")
    | _same(_expand, "ExpandDims")
    | _same(_shape, "Shape")
    | _same(_transpose, "Transpose")
)
"""Rules by operation, applied if its inputs have channels-last forms."""
