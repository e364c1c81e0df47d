"""A GraphDef's operations and their connections, without TensorFlow importing it.

Importing a graph runs parts of it: shapes are inferred by computing what depends only
on constants. So the served part is found here, before anything is imported. The classes
have the attributes of TensorFlow's own that `signature_discovery` uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.framework import op_def_registry

from inference.errors import InvalidModel
from inference.formats.graph.graphdef import node_of
from inference.formats.graph.tensors import known_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_OUTPUTS = 1_000_000


@dataclass(eq=False, slots=True, kw_only=True)
class Wire:
    """One output of an operation; `dtype` is `None` for an unknown operation."""

    name: str
    op: Operation
    dtype: Any
    readers: list[Operation] = field(default_factory=list)

    def consumers(self) -> list[Operation]:
        return self.readers


@dataclass(eq=False, slots=True, kw_only=True)
class Operation:
    """A node; `waiting` are the operations that have it as a control input."""

    name: str
    type: str
    node: Any
    outputs: list[Wire] = field(default_factory=list)
    inputs: list[Wire] = field(default_factory=list)
    control_inputs: list[Operation] = field(default_factory=list)
    waiting: list[Operation] = field(default_factory=list)

    known: bool = True

    def output(self, position: int) -> Wire:
        """Return an output. Raise `InvalidModel` if the operation doesn't have it."""
        if position < len(self.outputs):
            return self.outputs[position]

        if self.known:
            raise InvalidModel(
                f"The graph is damaged: '{self.name}:{position}' isn't an output of a "
                "node. Copy or export it again."
            )

        return self.outputs[0]


def read_operations(graph_def: Any) -> list[Operation]:
    """Return the operations of `graph_def`, which is complete, in its order."""
    bodies = {each.signature.name: each for each in graph_def.library.function}
    made: dict[str, Operation] = {}
    count = 0

    for node in graph_def.node:
        made[node.name] = _operation(node, bodies)
        count += len(made[node.name].outputs)

        # An attribute can declare any number of outputs.
        if count > MAX_OUTPUTS:
            raise InvalidModel(
                f"The graph's nodes have more than {MAX_OUTPUTS:,} outputs, which no "
                "model needs. Export it again."
            )

    for node in graph_def.node:
        _connect(made[node.name], node, made)

    return list(made.values())


def followers(operation: Operation) -> set[Operation]:
    """Return the operations that read `operation` or wait for it."""
    readers = {each for wire in operation.outputs for each in wire.readers}
    return {*readers, *operation.waiting}


def _operation(node: Any, bodies: dict[str, Any]) -> Operation:
    function = bodies.get(node.op)
    definition = function.signature if function else op_def_registry.get(node.op)
    known = definition is not None
    operation = Operation(name=node.name, type=node.op, node=node, known=known)
    dtypes = _dtypes(node, definition) if known else (None,)

    for position, dtype in enumerate(dtypes):
        wire = Wire(name=f"{node.name}:{position}", op=operation, dtype=dtype)
        operation.outputs.append(wire)

    return operation


def _connect(operation: Operation, node: Any, made: dict[str, Operation]) -> None:
    for tensor in node.input:
        source = made[node_of(tensor)]

        if tensor.startswith("^"):
            operation.control_inputs.append(source)
            source.waiting.append(operation)
            continue

        wire = source.output(_position(tensor, node))
        wire.readers.append(operation)
        operation.inputs.append(wire)


def _dtypes(node: Any, definition: Any) -> Iterator[Any]:
    """Yield the dtype of each output; an argument may stand for several."""
    attributes = {each.name: each.default_value for each in definition.attr}
    attributes |= dict(node.attr.items())

    missing = attr_value_pb2.AttrValue()

    for argument in definition.output_arg:
        if argument.type_list_attr:
            kinds = attributes.get(argument.type_list_attr, missing).list.type
            yield from (known_dtype(kind) for kind in kinds)
            continue

        attr, number = argument.type_attr, argument.number_attr
        kind = attributes.get(attr, missing).type if attr else argument.type
        count = attributes.get(number, missing).i if number else 1
        yield from [known_dtype(kind)] * min(count, MAX_OUTPUTS)


def _position(tensor: str, node: Any) -> int:
    text = tensor.partition(":")[2] or "0"

    # `int` would accept signs, spaces and other digits, and be slow for huge numbers.
    if text.isascii() and text.isdecimal() and len(text) < len(str(MAX_OUTPUTS)):
        return int(text)

    raise InvalidModel(
        f"The graph is damaged: node '{node.name}' takes '{tensor}', which isn't an "
        "output of a node. Copy or export it again."
    )
