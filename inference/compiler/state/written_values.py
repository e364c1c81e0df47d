"""Reads and writes of a variable as operations on its values."""

from __future__ import annotations

from typing import Any

from inference.backend import tf, tf1
from inference.errors import InvalidModel
from inference.formats.graph.nodes import constant_node

ASSIGN = "AssignVariableOp"
_KINDS = ("Add", "Max", "Min", "Sub", "Update")
_SUMS = {"AssignAddVariableOp": "AddV2", "AssignSubVariableOp": "Sub"}
_ROWS = {f"ResourceScatter{kind}": f"TensorScatter{kind}" for kind in _KINDS}
_PLACES = {f"ResourceScatterNd{kind}": f"TensorScatter{kind}" for kind in _KINDS}
_SLICE = "ResourceStridedSliceAssign"
_UNKNOWN = {"ResourceCountUpTo", "ResourceScatterDiv", "ResourceScatterMul"}
_FORMS = _SUMS | _ROWS | _PLACES
WRITES = frozenset({ASSIGN, _SLICE} | _UNKNOWN | _FORMS.keys())
GATHERS = frozenset({"ResourceGather", "ResourceGatherNd"})
_MASKS = (
    "Index",
    "begin_mask",
    "ellipsis_mask",
    "end_mask",
    "new_axis_mask",
    "shrink_axis_mask",
)


def value_nodes(write: Any, start: str, dtype: Any) -> list[Any]:
    """Return nodes for the value that `write` makes of the tensor `start`, result last.

    `dtype` is the variable's, as an attribute. Raise `InvalidModel` for a write without
    such a form.
    """
    name = f"{write.name}/written"

    if write.op in _SUMS:
        return [_node(name, _SUMS[write.op], [start, write.input[1]], T=dtype)]

    if write.op in _PLACES:
        inputs = [start, *write.input[1:3]]
        return [_scatter(write, name, _PLACES[write.op], inputs, dtype)]

    if write.op in _ROWS:
        return _rows(write, name, start, dtype)

    if write.op == _SLICE:
        inputs = [start, *write.input[1:5]]
        masks = {key: write.attr[key] for key in _MASKS}
        return [_node(name, "TensorStridedSliceUpdate", inputs, T=dtype, **masks)]

    raise InvalidModel(
        f"'{write.name}' ({write.op}) changes a variable during a call in a way that "
        "can't be kept within the call. Export the model without the state."
    )


def become_gather(node: Any, value: str, dtype: Any) -> list[Any]:
    """Make `node`, one of `GATHERS`, take rows of `value`; return added nodes."""
    indices, kind = node.input[1], node.attr["Tindices"]
    controls = [each for each in node.input if each.startswith("^")]

    if node.op == "ResourceGatherNd":
        gather = _node(node.name, "GatherNd", [value, indices], Tindices=kind)
        gather.attr["Tparams"].CopyFrom(dtype)
        added = []
    else:
        skipped = node.attr["batch_dims"]
        axis = constant_node(f"{node.name}/axis", skipped.i, tf.int32.as_datatype_enum)
        inputs = [value, indices, axis.name]
        gather = _node(node.name, "GatherV2", inputs, Tindices=kind, Tparams=dtype)
        gather.attr["Taxis"].type = tf.int32.as_datatype_enum
        gather.attr["batch_dims"].CopyFrom(skipped)
        added = [axis]

    gather.input.extend(controls)
    node.CopyFrom(gather)
    return added


def _rows(write: Any, name: str, start: str, dtype: Any) -> list[Any]:
    """Return nodes for a write of whole rows, one for each index."""
    axis = constant_node(f"{name}/axis", -1, tf.int32.as_datatype_enum)
    kind = write.attr["Tindices"]
    places = _node(f"{name}/places", "ExpandDims", [write.input[1], axis.name], T=kind)
    places.attr["Tdim"].type = tf.int32.as_datatype_enum
    inputs = [start, places.name, write.input[2]]
    return [axis, places, _scatter(write, name, _ROWS[write.op], inputs, dtype)]


def _scatter(write: Any, name: str, op: str, inputs: list[str], dtype: Any) -> Any:
    return _node(name, op, inputs, T=dtype, Tindices=write.attr["Tindices"])


def _node(name: str, op: str, inputs: list[str], **attributes: Any) -> Any:
    node = tf1.NodeDef(name=name, op=op, input=inputs)

    for key, value in attributes.items():
        node.attr[key].CopyFrom(value)

    return node
