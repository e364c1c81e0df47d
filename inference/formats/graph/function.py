"""A traced function as a graph of its own, with its captured values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from inference.errors import InvalidModel
from inference.formats.graph.nodes import become_constant, handle_node
from inference.formats.graph.source import Table
from inference.formats.graph.tensors import as_array

if TYPE_CHECKING:
    from inference.types import Array


@dataclass(slots=True, kw_only=True)
class CapturedGraph:
    """A function's graph in which captured variables and tables are nodes.

    `inputs` and `outputs` are the function's own symbolic tensors, in its order.
    """

    graph_def: Any
    inputs: list[Any]
    outputs: list[Any]
    variables: dict[str, Array] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)


def captured_graph(concrete: Any, model: Any) -> CapturedGraph:
    """Turn a `ConcreteFunction` of `model` into a `CapturedGraph`.

    Raise `InvalidModel` for a captured resource that is neither variable nor table.
    """
    graph = concrete.graph
    count = len(concrete.inputs) - len(concrete.captured_inputs)
    captured = CapturedGraph(
        graph_def=graph.as_graph_def(),
        inputs=list(concrete.inputs[:count]),
        outputs=list(concrete.outputs),
    )
    nodes = {node.name: node for node in captured.graph_def.node}
    variables = {id(variable.handle): variable for variable in graph.variables}
    tables = _tables(model)

    for external, internal in graph.captures:
        node = nodes[internal.op.name]

        if id(external) in variables:
            _become_variable(captured, node, variables[id(external)])
        elif id(external) in tables:
            _become_table(captured, node, tables[id(external)])
        else:
            _become_constant(node, external)

    return captured


def _tables(model: Any) -> dict[int, Any]:
    """Return the lookup tables of the model's layers, by the identity of the handle."""
    return {
        id(value.resource_handle): value
        for layer in model._flatten_layers()
        for value in vars(layer).values()
        if hasattr(value, "resource_handle") and hasattr(value, "export")
    }


def _become_variable(captured: CapturedGraph, node: Any, variable: Any) -> None:
    handle = handle_node(node.name, variable.dtype.as_datatype_enum)
    handle.attr["shape"].shape.CopyFrom(variable.shape.as_proto())
    captured.variables[node.name] = as_array(variable.numpy())
    node.CopyFrom(handle)


def _become_table(captured: CapturedGraph, node: Any, table: Any) -> None:
    keys, values = table.export()
    handle = tf1.NodeDef(name=node.name, op="HashTableV2")
    handle.attr["key_dtype"].type = keys.dtype.as_datatype_enum
    handle.attr["value_dtype"].type = values.dtype.as_datatype_enum
    handle.attr["shared_name"].s = node.name.encode()
    captured.tables.append(
        Table(
            node=node.name,
            keys=as_array(keys.numpy()),
            values=as_array(values.numpy()),
        )
    )
    node.CopyFrom(handle)


def _become_constant(node: Any, value: Any) -> None:
    if value.dtype in (tf.resource, tf.variant):
        raise InvalidModel(
            f"The model uses a resource ('{node.name}') that is neither a variable nor "
            "a lookup table. Export it as a SavedModel (model.export) and serve that."
        )

    become_constant(node, value)
