"""The objects of a TF2 SavedModel: which checkpoint variable a function uses.

TensorFlow's session restores the variables that the graph's saver names, its object
loader those that the functions hold. Mostly these are the same. `tf.saved_model.save`
of a Keras 3 model writes each of its variables twice
(`Variable._export_to_saved_model_graph`, Keras 3.0 to 3.15): the saver fills one, and
the functions read the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from inference.backend import tf
from inference.formats.graph.graphdef import CALLS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"


def restore_bound(session: Any, graph_def: Any, objects: Any, prefix: Path) -> None:
    """Restore the variables that functions hold and the saver doesn't fill.

    `session` has imported `graph_def`, and `objects` is its object graph. Raise
    TensorFlow's errors if the checkpoint lacks a value, `LookupError` or `ValueError`
    for a damaged object graph.
    """
    empty = _empty_variables(session) if objects.nodes else []

    if not empty:
        return

    keys = _checkpoint_keys(objects, prefix)
    bound = _bound_variables(graph_def, objects.concrete_functions)

    with session.graph.as_default():
        fills = [
            _fill(handle, keys[bound[handle.op.name]], prefix)
            for handle in empty
            if bound.get(handle.op.name) in keys
        ]

    session.run(fills)


def _empty_variables(session: Any) -> list[Any]:
    handles = [
        operation.outputs[0]
        for operation in session.graph.get_operations()
        if operation.type == "VarHandleOp"
    ]

    with session.graph.as_default():
        filled = [tf.raw_ops.VarIsInitializedOp(resource=handle) for handle in handles]

    known = zip(handles, session.run(filled), strict=True)
    return [handle for handle, is_filled in known if not is_filled]


def _fill(handle: Any, key: str, prefix: Path) -> Any:
    dtype = handle.op.get_attr("dtype")
    value = tf.raw_ops.RestoreV2(
        prefix=str(prefix), tensor_names=[key], shape_and_slices=[""], dtypes=[dtype]
    )
    return tf.raw_ops.AssignVariableOp(resource=handle, value=value[0])


def _bound_variables(graph_def: Any, functions: Any) -> dict[str, int]:
    """Return the object of each variable handle that the graph gives to a function."""
    bound: dict[str, int] = {}

    for node in graph_def.node:
        called = node.attr["f"].func.name if node.op in CALLS else ""

        if called not in functions:
            continue

        # Captured inputs come after the arguments.
        objects = functions[called].bound_inputs
        given = len(node.input) - len(objects)

        if given >= 0:
            bound.update(zip(node.input[given:], objects, strict=True))

    return bound


def _checkpoint_keys(objects: Any, prefix: Path) -> dict[int, str]:
    """Return the checkpoint's key of each object's value, by the object's number."""
    # The checkpoint numbers its objects differently: objects are equal if the same
    # names lead to them from the root.
    stored = _stored_objects(prefix)
    return {
        number: attribute.checkpoint_key
        for number, other in _matched(objects.nodes, stored.nodes)
        for attribute in stored.nodes[other].attributes
        if attribute.name == _VALUE
    }


def _stored_objects(prefix: Path) -> Any:
    stored = TrackableObjectGraph()
    reader = tf.train.load_checkpoint(str(prefix))

    if reader.has_tensor(_GRAPH):
        try:
            stored.ParseFromString(reader.get_tensor(_GRAPH))
        except (DecodeError, TypeError) as exc:
            raise ValueError(f"{prefix.name}: its list of objects is damaged") from exc

    return stored


def _matched(nodes: Any, others: Any) -> Iterator[tuple[int, int]]:
    """Yield the numbers of the objects that are in both, from the root on."""
    waiting = [(0, 0)] if nodes and others else []
    seen: set[int] = set()

    while waiting:
        number, other = waiting.pop()

        # Objects can refer to each other in cycles.
        if number in seen:
            continue

        seen.add(number)
        yield number, other
        children = {each.local_name: each.node_id for each in others[other].children}
        waiting += [
            (each.node_id, children[each.local_name])
            for each in nodes[number].children
            if each.local_name in children
        ]
