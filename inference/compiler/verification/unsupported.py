"""Operations that TensorFlow has no CPU kernel for.

Found in the errors of a run, and in TensorFlow's own registry: where no sample input
gets as far as the operation, no run would report it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import kernels

from inference.backend import tf
from inference.errors import first_line
from inference.formats.graph.graphdef import (
    BRANCHES,
    callees,
    function_names,
    node_of,
    reachable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from inference.types import Signature

# Messages of TensorFlow 2.21: `core/framework/op_kernel.cc`,
# `core/common_runtime/eager/execute.cc` and `core/kernels/*.cc`.
_NO_KERNEL = re.compile(
    r"No OpKernel was registered|No registered '.*' OpKernel|"
    r"Could not find (valid )?device for node|only supports? (the )?NHWC|"
    r"only supports equal length strides|not supported on (the )?CPU|"
    r"Fusion is not implemented"
)
_OP = re.compile(r"(?:Op '(\w+)'|node: \{\{node [^}]*\}\} = (\w+)\[)")
_NODE = re.compile(r"\{\{node ([^}]+)\}\}|Node: '([^']+)'")

_REMEDIES = {
    "Cudnn": "cuDNN's layers run on NVIDIA GPUs alone: build the model with plain LSTM "
    "and GRU layers, which take the same weights, and export it again.",
    "NHWC": "Export the model with its channels last (data_format='channels_last').",
}
_REMEDY = (
    "Export the model without it, or with a dtype that TensorFlow computes on CPUs."
)

# `DEFAULT` kernels serve every device: core/framework/types.h of TensorFlow 2.21.
_HERE = {"CPU", "DEFAULT"}
_COMPILED = "_XlaMustCompile"
_REPLACED = {"AccumulateNV2"}
"""Replaced before TensorFlow looks for kernels: accumulate_n_optimizer.cc."""


def missing_kernel_reason(error: Exception) -> str | None:
    """Return why, if TensorFlow has no kernel on this machine for an operation.

    Names the operation, the node or layer, and a remedy. `None` for other errors, which
    other inputs may not cause.
    """
    message = str(getattr(error, "message", None) or error)
    return _reason(error, message) if _NO_KERNEL.search(message) else None


def unimplemented_reason(error: Exception) -> str | None:
    """Return why, if a kernel says that it doesn't implement the requested case.

    The case may depend on the inputs, so one such error proves nothing.
    """
    if not isinstance(error, tf.errors.UnimplementedError):
        return None

    return _reason(error, str(error.message))


def remedy(message: str) -> str:
    """Return what to do about an operation without a kernel, by its error message."""
    return next((text for word, text in _REMEDIES.items() if word in message), _REMEDY)


def _reason(error: Exception, message: str) -> str:
    node_def = getattr(error, "node_def", None)
    op = node_def.op if node_def is not None else _first(_OP, message)
    node = node_def.name if node_def is not None else _first(_NODE, message)
    what = f"'{node}' ({op})" if op and node else f"'{node or op or 'an operation'}'"
    cause = first_line(error).rstrip(".")
    return f"{what} can't run on this machine: {cause}. {remedy(op + message)}"


def _first(pattern: re.Pattern[str], message: str) -> str:
    match = pattern.search(message)
    return next((each for each in match.groups() if each), "") if match else ""


def unregistered_reason(graph_def: Any, signature: Signature) -> str | None:
    """Return why, if no CPU kernel exists for a node that `signature` always runs.

    Names the operation, the node, its dtypes and a remedy.
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
        f"{tf.__version__} has no kernel for it on a CPU{of}. {remedy(node.op)}"
    )


def _always(graph_def: Any, signature: Signature) -> Iterator[Any]:
    """Yield the nodes that the outputs need, in functions too, but not in branches."""
    bodies = {each.signature.name: each for each in graph_def.library.function}
    nodes = {node.name: node for node in graph_def.node}
    waiting = _needed(nodes, [each.tensor for each in signature.outputs.values()])
    seen: set[str] = set()

    while waiting:
        node = waiting.pop()
        yield node

        # A branch may never run, and then its kernels don't matter.
        if node.op in BRANCHES or _is_compiled(node.attr):
            continue

        for name in {*callees(node)} - seen:
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
    """Return whether XLA compiles it, which has kernels of its own."""
    # Indexing a protobuf map with a missing key would add it.
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
    """Return whether a constraint allows a dtype; unknown dtypes are allowed."""
    # Dtypes in a function's body may be set by its caller; other constraints aren't
    # dtypes.
    kinds = [value.type] if value.type else list(value.list.type)
    return not allowed or not kinds or set(kinds) <= set(allowed)
