"""TensorFlow 1's saver, read for which variable has which value of a checkpoint.

Its operations (`save/Assign`, `save/RestoreV2`) are read, never run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.graph.graphdef import FORWARDS, node_of, nodes_by_name, reachable
from inference.formats.graph.tensors import as_array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array

_FILLS = {"Assign", "AssignVariableOp"}
_STRING = tf.string.as_datatype_enum
_MAX_NAMES = 1_000_000
_MAX_STEPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A value of a checkpoint, or a part of one: `10 4 0,5:-` are rows 0 to 4."""

    key: str
    part: str = ""

    def read(self, reader: Any, node: Any) -> Array:
        """Return the value of the variable `node`.

        Raise `InvalidModel` if it doesn't fit, TensorFlow's errors or `ValueError` for
        a damaged file.
        """
        if not reader.has_tensor(self.key):
            raise InvalidModel(
                f"The checkpoint has no value for the variable '{node.name}' "
                f"('{self.key}'). The graph and the weights are of different models, "
                "or it isn't saved; save all variables."
            )

        value = as_array(reader.get_tensor(self.key))[self._slices()]
        wanted = tf.TensorShape(node.attr["shape"].shape)
        dtype = tf.dtypes.as_dtype(node.attr["dtype"].type)

        if not wanted.is_compatible_with(value.shape) or dtype != value.dtype:
            raise InvalidModel(
                f"The variable '{node.name}' is {dtype.name} {wanted}, but the "
                f"checkpoint has {value.dtype} {value.shape} for it. The graph and the "
                "weights are of different models; copy them together."
            )

        return value

    def _slices(self) -> tuple[slice, ...]:
        *_, parts = self.part.rpartition(" ")
        return tuple(_slice(each) for each in parts.split(":") if each)


def saved_values(graph_def: Any, saver: Any) -> dict[str, Saved]:
    """Return the saved value that the saver assigns to each variable's node."""
    nodes = nodes_by_name(graph_def)
    found = {}

    for name in reachable(nodes, [saver.restore_op_name]):
        if nodes[name].op in _FILLS and len(nodes[name].input) > 1:
            variable, value = (_origin(each, nodes) for each in nodes[name].input[:2])
            saved = _restored(value, nodes)

            if saved is not None:
                found[node_of(variable)] = saved

    return found


def _restored(tensor: str, nodes: Mapping[str, Any]) -> Saved | None:
    node = nodes.get(node_of(tensor))

    if node is None or node.op != "RestoreV2" or len(node.input) < 3:
        return None

    position = int(tensor.partition(":")[2] or 0)
    keys, parts = (_texts(each, nodes) for each in node.input[1:3])

    if position >= min(len(keys), len(parts)):
        return None

    return Saved(key=keys[position], part=parts[position])


def _origin(tensor: str, nodes: Mapping[str, Any]) -> str:
    for _ in range(_MAX_STEPS):
        node = nodes.get(node_of(tensor))

        if node is None or node.op not in FORWARDS or not node.input:
            break

        tensor = node.input[0]

    return tensor


def _texts(tensor: str, nodes: Mapping[str, Any]) -> list[str]:
    node = nodes.get(node_of(tensor))

    if node is None or node.op != "Const":
        return []

    tensor_proto = node.attr["value"].tensor
    shape = tf.TensorShape(tensor_proto.tensor_shape)

    # A small file can declare many texts: equal ones are stored once.
    if tensor_proto.dtype != _STRING or (shape.num_elements() or 0) > _MAX_NAMES:
        return []

    texts = tf.make_ndarray(tensor_proto).reshape(-1).tolist()
    return [text.decode("utf-8", "replace") for text in texts]


def _slice(text: str) -> slice:
    """Return `-` as all, `2,3` as three from 2 on. Raise `ValueError`."""
    if text == "-":
        return slice(None)

    start, length = map(int, text.split(","))
    return slice(start, start + length)
