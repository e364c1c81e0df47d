"""Functions of a graph's library as flat graphs, and back.

Nodes of a function refer to tensors by the output's name (`node:output:0`), nodes of a
graph by its number (`node:0`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf1
from inference.formats.graph.graphdef import node_of, tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(slots=True, kw_only=True)
class FunctionBody:
    """A flat graph with a placeholder for each argument.

    `results` are the returned tensors by output name, `controls` the nodes that always
    run.
    """

    graph_def: Any
    results: dict[str, str]
    controls: dict[str, str]

    def roots(self) -> list[str]:
        return [*self.results.values(), *self.controls.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraTensor:
    """An argument or a result added to a function: its tensor in the body."""

    name: str
    tensor: str
    dtype: int


def to_graph(function: Any, library: Mapping[str, Any]) -> FunctionBody:
    """Return the body of `function`, which may call those in `library`."""
    graph_def = tf1.GraphDef()
    flat = {}

    for argument in function.signature.input_arg:
        node = graph_def.node.add(name=argument.name, op="Placeholder")
        node.attr["dtype"].type = argument.type
        flat[argument.name] = tensor_of(argument.name)

    for node in function.node_def:
        flat |= dict(zip(_outputs(node, library), _numbered(node.name), strict=False))

    for node in function.node_def:
        copy = graph_def.node.add()
        copy.CopyFrom(node)
        copy.input[:] = [flat.get(tensor, tensor) for tensor in node.input]

    return FunctionBody(
        graph_def=graph_def,
        results={name: flat[tensor] for name, tensor in function.ret.items()},
        controls=dict(function.control_ret),
    )


def to_function(
    function: Any,
    body: FunctionBody,
    library: Mapping[str, Any],
    *,
    arguments: Sequence[ExtraTensor],
    results: Sequence[ExtraTensor],
) -> Any:
    """Return `function` with its changed `body`, and further arguments and results.

    The tensor of an added argument is a placeholder.
    """
    made = type(function)()
    made.CopyFrom(function)
    taken = {tensor_of(each.name): each.name for each in function.signature.input_arg}
    taken |= {each.tensor: each.name for each in arguments}
    placeholders = {node_of(tensor) for tensor in taken}
    nodes = [node for node in body.graph_def.node if node.name not in placeholders]
    names = taken | _names(nodes, library)
    del made.node_def[:]

    for node in nodes:
        copy = made.node_def.add()
        copy.CopyFrom(node)
        copy.input[:] = [_nested(tensor, names) for tensor in node.input]

    made.signature.input_arg.extend(map(_argument, arguments))
    made.signature.output_arg.extend(map(_argument, results))

    for name, tensor in body.results.items():
        made.ret[name] = names[tensor]

    for each in results:
        made.ret[each.name] = names[each.tensor]

    _keep_controls(made, {node.name for node in nodes})
    return made


def _names(nodes: Iterable[Any], library: Mapping[str, Any]) -> dict[str, str]:
    """Return a function's names for the tensors of `nodes`, by a graph's names."""
    names: dict[str, str] = {}

    for node in nodes:
        names |= dict(zip(_numbered(node.name), _outputs(node, library), strict=False))

    return names


def _nested(tensor: str, names: Mapping[str, str]) -> str:
    return tensor if tensor.startswith("^") else names[tensor_of(tensor)]


def _argument(added: ExtraTensor) -> Any:
    proto = type(op_def_registry.get("Identity").input_arg[0])
    return proto(name=added.name, type=added.dtype)


def _keep_controls(function: Any, nodes: set[str]) -> None:
    for name in [k for k, node in function.control_ret.items() if node not in nodes]:
        del function.control_ret[name]
        function.signature.control_output.remove(name)


def _numbered(name: str) -> Iterator[str]:
    return (f"{name}:{number}" for number in range(2**31))


def _outputs(node: Any, library: Mapping[str, Any]) -> Iterator[str]:
    """Yield the outputs of `node`, in order, as a function names them."""
    function = library.get(node.op)
    definition = function.signature if function else op_def_registry.get(node.op)

    for argument in definition.output_arg:
        count = 1

        if argument.number_attr:
            count = node.attr[argument.number_attr].i
        elif argument.type_list_attr:
            count = len(node.attr[argument.type_list_attr].list.type)

        yield from (f"{node.name}:{argument.name}:{number}" for number in range(count))
