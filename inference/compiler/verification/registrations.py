"""Kernels that TensorFlow has registered for a CPU, asked of itself.

A run says it too, but only once it gets there: where no made-up input passes what
comes before, a call would meet it first.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import kernels

from inference.backend import tf
from inference.compiler.verification.unsupported import cure_of
from inference.formats.graph.graphdef import called, function_names, node_of, reachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inference.types import Signature

# `DEFAULT` kernels serve every device: core/framework/types.h of TensorFlow 2.21.
_HERE = {"CPU", "DEFAULT"}
_BRANCHES = {"If", "StatelessIf", "Case", "StatelessCase"}
"""What they call may never run, and then its kernels don't matter."""

_COMPILED = "_XlaMustCompile"
_REPLACED = {"AccumulateNV2"}
"""Made into others before kernels are looked for: accumulate_n_optimizer.cc."""


def without_kernel(graph_def: Any, signature: Signature) -> str | None:
    """Return why, if no CPU has a kernel for a node that `signature` always runs.

    Names the operation, the node, its dtypes and a cure.
    """
    functions = function_names(graph_def)
    nodes = _always(graph_def, signature)
    missing = (each for each in nodes if each.op not in functions)
    node = next((each for each in missing if not _has_kernel(each)), None)

    if node is None:
        return None

    kinds = {each.type for each in node.attr.values() if each.type}
    names = ", ".join(sorted(tf.dtypes.as_dtype(kind).name for kind in kinds))
    of = f" of {names}" if names else ""
    return (
        f"'{node.name}' ({node.op}) can't run on this machine: TensorFlow "
        f"{tf.__version__} has no kernel for it on a CPU{of}. {cure_of(node.op)}"
    )


def _always(graph_def: Any, signature: Signature) -> Iterator[Any]:
    """The nodes that the outputs need, in functions too, but for branches."""
    bodies = {each.signature.name: each for each in graph_def.library.function}
    nodes = {node.name: node for node in graph_def.node}
    waiting = _needed(nodes, [each.tensor for each in signature.outputs.values()])
    seen: set[str] = set()

    while waiting:
        node = waiting.pop()
        yield node

        if node.op in _BRANCHES or _is_compiled(node.attr):
            continue

        for name in {*called(node)} - seen:
            seen.add(name)
            waiting += _of_body(bodies[name]) if name in bodies else []


def _of_body(body: Any) -> list[Any]:
    if _is_compiled(body.attr):
        return []

    nodes = {node.name: node for node in body.node_def}
    return _needed(nodes, [*body.ret.values(), *body.control_ret.values()])


def _needed(nodes: dict[str, Any], roots: Iterable[str]) -> list[Any]:
    return [nodes[name] for name in reachable(nodes, map(node_of, roots))]


def _is_compiled(attributes: Any) -> bool:
    """XLA makes its own kernels. Looking up what isn't there would put it there."""
    return _COMPILED in attributes and attributes[_COMPILED].b


def _has_kernel(node: Any) -> bool:
    return node.op in _REPLACED or any(_fits(each, node) for each in _kernels(node.op))


@cache
def _kernels(op: str) -> tuple[Any, ...]:
    found = kernels.get_registered_kernels_for_op(op).kernel
    return tuple(each for each in found if each.device_type in _HERE)


def _fits(kernel: Any, node: Any) -> bool:
    return all(
        _allows(each.allowed_values.list.type, node.attr[each.name])
        for each in kernel.constraint
        if each.name in node.attr
    )


def _allows(allowed: Iterable[int], value: Any) -> bool:
    """A body's dtypes may be its caller's to say, and constraints of other kinds."""
    kinds = [value.type] if value.type else list(value.list.type)
    return not allowed or not kinds or set(kinds) <= set(allowed)
