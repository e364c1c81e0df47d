"""Reading and pruning of GraphDefs; nothing here runs one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf
from inference.errors import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

REF_VARIABLES = {"Variable", "VariableV2", "AutoReloadVariable"}
VARIABLES = REF_VARIABLES | {"VarHandleOp"}
FORWARDS = {"Identity", "IdentityN"}
CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
BRANCHES = {"If", "StatelessIf", "Case", "StatelessCase"}
"""Operations that run one of several functions; their first input selects it."""


def node_of(tensor: str) -> str:
    """Return the node's name: `"^a"`, `"a"`, `"a:1"` → `"a"`."""
    return tensor.removeprefix("^").partition(":")[0]


def tensor_of(name: str) -> str:
    """Return the tensor's full name: `"a"` → `"a:0"`."""
    return name if ":" in name else f"{name}:0"


def public_name(tensor: str) -> str:
    """Return a tensor's name as a client sees it: `"a:0"` → `"a"`, `"a:1"` stays."""
    return tensor.removesuffix(":0")


def nodes_by_name(graph_def: Any) -> dict[str, Any]:
    return {node.name: node for node in graph_def.node}


def handle_of(tensor: str, nodes: Mapping[str, Any]) -> str:
    """Return the node that makes the handle `tensor`, through identities."""
    name = node_of(tensor)

    while name in nodes and nodes[name].op in FORWARDS:
        name = node_of(nodes[name].input[0])

    return name


def reachable(
    nodes: dict[str, Any], roots: Iterable[str], *, controls: bool = True
) -> set[str]:
    """Return the names of the nodes that `roots` need, themselves included.

    Without `controls` only those that their values are computed from.
    """
    found: set[str] = set()
    waiting = [node_of(root) for root in roots]

    while waiting:
        name = waiting.pop()

        if name in found or name not in nodes:
            continue

        found.add(name)
        waiting.extend(
            node_of(tensor)
            for tensor in nodes[name].input
            if controls or not tensor.startswith("^")
        )

    return found


def prune(graph_def: Any, roots: Iterable[str]) -> Any:
    """Return a copy with only what `roots` need, without unused functions."""
    kept = reachable(nodes_by_name(graph_def), roots)
    pruned = tf.compat.v1.GraphDef(versions=graph_def.versions)
    pruned.node.extend(node for node in graph_def.node if node.name in kept)
    functions = used_functions(pruned.node, graph_def.library)
    pruned.library.function.extend(
        function
        for function in graph_def.library.function
        if function.signature.name in functions
    )
    pruned.library.gradient.extend(
        gradient
        for gradient in graph_def.library.gradient
        if {gradient.function_name, gradient.gradient_func} <= functions
    )
    return pruned


def used_functions(nodes: Iterable[Any], library: Any) -> set[str]:
    """Return the functions of `library` that `nodes` call, directly or indirectly.

    Gradients of a function count as used with it.
    """
    bodies = {function.signature.name: function for function in library.function}
    used: set[str] = set()
    gradients = {each.function_name: each.gradient_func for each in library.gradient}
    waiting = [name for node in nodes for name in callees(node)]

    while waiting:
        name = waiting.pop()

        if name in used or name not in bodies:
            continue

        used.add(name)
        waiting.extend(each for node in bodies[name].node_def for each in callees(node))

        if name in gradients:
            waiting.append(gradients[name])

    return used


def all_nodes(graph_def: Any) -> Iterator[Any]:
    """Yield the graph's nodes and those of its function library."""
    return (node for _, node in located_nodes(graph_def))


def located_nodes(graph_def: Any) -> Iterator[tuple[str, Any]]:
    """Yield all nodes, each with the name of its function, `""` for the graph."""
    yield from (("", node) for node in graph_def.node)

    for function in graph_def.library.function:
        yield from ((function.signature.name, node) for node in function.node_def)


def function_names(graph_def: Any) -> set[str]:
    """Return the library's functions, except those named like an operation."""
    names = {function.signature.name for function in graph_def.library.function}
    return {name for name in names if op_def_registry.get(name) is None}


def check_ops(graph_def: Any) -> None:
    """Raise `InvalidModel` for an operation that this TensorFlow doesn't have."""
    functions = function_names(graph_def)
    unknown = {
        node.op: node.name
        for node in all_nodes(graph_def)
        if node.op not in functions and op_def_registry.get(node.op) is None
    }

    if unknown:
        found = ", ".join(f"{op} (node '{name}')" for op, name in unknown.items())
        raise InvalidModel(
            f"The graph uses operations that TensorFlow {tf.__version__} doesn't have: "
            f"{found}. They come from a custom op library or another framework; export "
            "the model without them."
        )


def check_complete(graph_def: Any) -> None:
    """Raise `InvalidModel` if a node's input is missing, as in a truncated file."""
    names = {node.name for node in graph_def.node}

    for node in graph_def.node:
        for tensor in node.input:
            if node_of(tensor) not in names:
                raise InvalidModel(
                    f"The graph is truncated: node '{node.name}' needs "
                    f"'{node_of(tensor)}', which isn't in the file. The file was "
                    "probably copied in part; copy or export it again."
                )


def callees(node: Any) -> Iterator[str]:
    """Yield the operation of `node`, and the functions that it may call."""
    yield node.op
    yield from _functions(node.attr)


def _functions(attributes: Any) -> Iterator[str]:
    """Yield the functions in `attributes`, and in those functions' attributes."""
    for value in attributes.values():
        single = [value.func] if value.WhichOneof("value") == "func" else []

        for function in (*single, *value.list.func):
            yield function.name
            yield from _functions(function.attr)
