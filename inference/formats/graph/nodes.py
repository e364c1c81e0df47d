"""Nodes of a GraphDef, created or changed in place: their names and readers stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

PIPELINE = {"IteratorGetNext", "QueueDequeueV2", "QueueDequeueManyV2"}
"""Operations that deliver the values of an input pipeline."""


def constant_node(name: str, value: Any, dtype: int | None = None) -> Any:
    """Return a `Const`. Raise `TypeError` or `ValueError` for another `dtype`."""
    node = tf1.NodeDef(name=name, op="Const")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype=dtype))
    node.attr["dtype"].type = node.attr["value"].tensor.dtype
    return node


def handle_node(name: str, dtype: int) -> Any:
    """Return a `VarHandleOp` of any shape that shares its resource under its name."""
    node = tf1.NodeDef(name=name, op="VarHandleOp")
    node.attr["dtype"].type = dtype
    node.attr["shape"].shape.unknown_rank = True
    node.attr["shared_name"].s = name.encode()
    return node


def become_constant(node: Any, value: Any, dtype: int | None = None) -> None:
    """Make `node` a constant, which keeps its control inputs."""
    constant = constant_node(node.name, value, dtype)
    # In a TF1 loop they say which frame a constant is in.
    constant.input.extend(_controls(node))
    node.CopyFrom(constant)


def become_read(node: Any, handle: str, dtype: int) -> None:
    """Make `node` the read of the variable `handle`."""
    read = tf1.NodeDef(name=node.name, op="ReadVariableOp", input=[handle])
    read.attr["dtype"].type = dtype
    node.CopyFrom(read)


def become_identity(node: Any, source: str) -> None:
    """Make `node`, whose dtype is its attribute `T`, pass `source` on."""
    identity = tf1.NodeDef(name=node.name, op="Identity")
    identity.input.extend([source, *_controls(node)])
    identity.attr["T"].CopyFrom(node.attr["T"])
    node.CopyFrom(identity)


def cut_pipelines(graph_def: Any, fed: Collection[str]) -> None:
    """Disconnect the nodes named `fed` from their input pipelines, in place.

    Clients feed their outputs. The iterators and queues behind them are removed, and
    running such a node fails.
    """
    names = {node.name for node in graph_def.node}
    added = []

    for node in graph_def.node:
        if node.op in PIPELINE and node.name in fed:
            handle = tf1.NodeDef(name=free_name(f"{node.name}/pipeline", names))
            handle.op = "Placeholder"
            handle.attr["dtype"].type = tf.resource.as_datatype_enum
            kept = [each for each in node.input[1:] if not each.startswith("^")]
            node.input[:] = [handle.name, *kept]
            added.append(handle)

    graph_def.node.extend(added)


def free_name(name: str, taken: Collection[str]) -> str:
    """Return `name`, or one like it that isn't `taken`."""
    while name in taken:
        name += "_"

    return name


def _controls(node: Any) -> Iterable[str]:
    return [tensor for tensor in node.input if tensor.startswith("^")]
