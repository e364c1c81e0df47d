"""Values that the sidecar gives to parts of a graph, under `[constants]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.errors import InvalidSidecar
from inference.formats.graph.control_flow import SWITCHES, origin
from inference.formats.graph.graphdef import node_of, nodes_by_name
from inference.formats.graph.nodes import become_constant
from inference.formats.graph.topology import read_operations

if TYPE_CHECKING:
    from inference.repository.sidecar import Sidecar


def fix_constants(graph_def: Any, sidecar: Sidecar) -> None:
    """Turn the nodes that the sidecar gives values to into constants, in place.

    Placeholders, and booleans that select branches.
    """
    nodes = nodes_by_name(graph_def)

    for tensor, value in sidecar.constants.items():
        node = nodes.get(node_of(tensor))

        if node is not None and node.op.startswith("Placeholder"):
            _fix(node, value, node.attr["dtype"].type)
        elif node is not None and node.name in _steering(graph_def):
            _fix(node, value, tf.bool.as_datatype_enum)
        else:
            raise InvalidSidecar(
                f"it fixes '{tensor}', which isn't a placeholder of the graph; "
                f"the placeholders are: {', '.join(_placeholders(graph_def))}."
            )


def _steering(graph_def: Any) -> set[str]:
    return {
        origin(operation.inputs[1])[0].op.name
        for operation in read_operations(graph_def)
        if operation.type in SWITCHES and len(operation.inputs) > 1
    }


def _fix(node: Any, value: object, dtype: int) -> None:
    try:
        become_constant(node, value, dtype)
    except (TypeError, ValueError) as exc:
        wanted = tf.dtypes.as_dtype(dtype).name
        raise InvalidSidecar(
            f"it fixes '{node.name}' to {value!r}, but it wants {wanted}."
        ) from exc


def _placeholders(graph_def: Any) -> list[str]:
    return [node.name for node in graph_def.node if node.op.startswith("Placeholder")]
