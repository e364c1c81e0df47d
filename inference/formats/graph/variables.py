"""Variables of a graph: read, and all kinds made into resource variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.graph.graphdef import REF_VARIABLES
from inference.formats.graph.nodes import become_read, handle_node
from inference.formats.graph.tensors import as_array

if TYPE_CHECKING:
    from inference.types import Array

REF_FLOW = {
    f"Ref{op}": op
    for op in ("Enter", "Exit", "Identity", "Merge", "NextIteration", "Switch")
}
"""Operations on reference variables, with those that do the same to values."""

_REF_WRITES = {
    "Assign",
    "AssignAdd",
    "AssignSub",
    "CountUpTo",
    "StridedSliceAssign",
} | {
    f"Scatter{kind}"
    for kind in ("Add", "Div", "Max", "Min", "Mul", "Sub", "Update")
    + tuple(f"Nd{each}" for each in ("Add", "Max", "Min", "Sub", "Update"))
}


def read_variables(graph_def: Any, session: Any) -> dict[str, Array]:
    """Return the values of `graph_def`'s variables, by node name.

    Raise `InvalidModel` for a variable without a value.
    """
    # All reads are added before the first run: a session extends itself after each
    # change of its graph, which took 85 ms for each variable of a MobileNet.
    tensors = {
        node.name: _value(node, session.graph)
        for node in graph_def.node
        if node.op == "VarHandleOp" or node.op in REF_VARIABLES
    }
    return {name: _read(name, tensor, session) for name, tensor in tensors.items()}


def to_resources(graph_def: Any, variables: dict[str, Array]) -> dict[str, Array]:
    """Turn TF1's reference variables into resources, in place.

    The node keeps its name and becomes the read, so that no consumer changes; a new
    node holds the handle. Return the values by handle.
    """
    handles = {}
    added = []

    for node in graph_def.node:
        if node.op in REF_VARIABLES:
            handle = handle_node(f"{node.name}/handle", node.attr["dtype"].type)
            handle.attr["shape"].CopyFrom(node.attr["shape"])
            added.append(handle)
            handles[handle.name] = variables[node.name]
            become_read(node, handle.name, node.attr["dtype"].type)
        elif node.name in variables:
            handles[node.name] = variables[node.name]

    if added:
        _drop_references(graph_def)

    graph_def.node.extend(added)
    return handles


def check_no_reference_writes(graph_def: Any) -> None:
    """Raise `InvalidModel` for a write to a reference variable."""
    for node in graph_def.node:
        if node.op in _REF_WRITES:
            raise InvalidModel(
                f"'{node.name}' ({node.op}) writes a reference variable of TensorFlow "
                "1 during a call; the order of its reads is undefined, and the next "
                "request would see the write. Export the model without it, or with "
                "tf.compat.v1.enable_resource_variables()."
            )


def _read(name: str, tensor: Any, session: Any) -> Array:
    try:
        return as_array(session.run(tensor))
    except tf.errors.FailedPreconditionError as exc:
        raise InvalidModel(
            f"The variable '{name}' has no value: neither the saver nor the "
            "objects of the SavedModel restore it from its checkpoint. If you have the "
            "model's code, export it again: model.export(path) for Keras 3, "
            "else tf.saved_model.save with the variable as an attribute of the module."
        ) from exc


def _value(node: Any, graph: Any) -> Any:
    tensor = graph.get_tensor_by_name(f"{node.name}:0")

    if node.op in REF_VARIABLES:
        return tensor

    with graph.as_default():
        return tf.raw_ops.ReadVariableOp(resource=tensor, dtype=node.attr["dtype"].type)


def _drop_references(graph_def: Any) -> None:
    for node in graph_def.node:
        node.op = REF_FLOW.get(node.op, node.op)
