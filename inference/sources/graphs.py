"""Reading and pruning GraphDefs; nothing here runs one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf
from inference.errors import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REF_VARIABLES = {"Variable", "VariableV2", "AutoReloadVariable"}
VARIABLES = REF_VARIABLES | {"VarHandleOp"}
FORWARDS = {"Identity", "IdentityN"}


def node_of(tensor: str) -> str:
    """`"^a"`, `"a"`, `"a:1"` → `"a"`."""
    return tensor.removeprefix("^").partition(":")[0]


def tensor_of(name: str) -> str:
    """`"a"` → `"a:0"`; a full tensor name stays as it is."""
    return name if ":" in name else f"{name}:0"


def public_name(tensor: str) -> str:
    """A tensor's name as a client sees it: `"a:0"` → `"a"`, `"a:1"` stays."""
    return tensor.removesuffix(":0")


def nodes_by_name(graph_def: Any) -> dict[str, Any]:
    return {node.name: node for node in graph_def.node}


def reachable(nodes: dict[str, Any], roots: Iterable[str]) -> set[str]:
    """The names of the nodes that `roots` need, themselves included."""
    found: set[str] = set()
    waiting = [node_of(root) for root in roots]

    while waiting:
        name = waiting.pop()

        if name in found or name not in nodes:
            continue

        found.add(name)
        waiting.extend(node_of(tensor) for tensor in nodes[name].input)

    return found


def prune(graph_def: Any, roots: Iterable[str]) -> Any:
    """A copy with only what `roots` need, dead functions left out."""
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
    """The functions of `library` that `nodes` call, directly or through others."""
    bodies = {function.signature.name: function for function in library.function}
    used: set[str] = set()
    waiting = [name for node in nodes for name in _called(node)]

    while waiting:
        name = waiting.pop()

        if name in used or name not in bodies:
            continue

        used.add(name)
        waiting.extend(
            called for node in bodies[name].node_def for called in _called(node)
        )

    return used


def all_nodes(graph_def: Any) -> Iterator[Any]:
    """The graph's nodes and those of its function library."""
    yield from graph_def.node

    for function in graph_def.library.function:
        yield from function.node_def


def check_ops(graph_def: Any) -> None:
    """Raises `InvalidModel` for an operation that this TensorFlow doesn't have."""
    functions = {function.signature.name for function in graph_def.library.function}
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


def check_whole(graph_def: Any) -> None:
    """Raises `InvalidModel` where a node's input is missing, as in a cut file."""
    names = {node.name for node in graph_def.node}

    for node in graph_def.node:
        for tensor in node.input:
            if node_of(tensor) not in names:
                raise InvalidModel(
                    f"The graph is cut: node '{node.name}' needs "
                    f"'{node_of(tensor)}', which isn't in the file. The file was "
                    "probably copied in part; copy or export it again."
                )


def _called(node: Any) -> Iterator[str]:
    yield node.op

    for value in node.attr.values():
        if value.WhichOneof("value") == "func":
            yield value.func.name

        for function in value.list.func:
            yield function.name
