"""A graph or a function's body, to be rewritten in the same way.

A function refers to tensors as `node:output:0` and to arguments as `x`; a graph uses
`node:0`. Here all tensors of nodes have the graph's form, with the position.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tensorflow.python.framework import op_def_registry

from inference.backend import tf
from inference.formats.graph.graphdef import node_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from inference.types import Array

_INT32 = 3
_MAX_STEPS = 100
_FRAMES = {"Enter", "RefEnter"}


@dataclass(slots=True, kw_only=True)
class Scope:
    """Nodes by name, and the tensors at its `roots` that must be kept.

    `results` are a function's, by name; a graph has none. In a `framed` one, loops are
    made of nodes, and a constant must be tied to the loop that uses it.
    """

    place: str
    nodes: dict[str, Any]
    roots: set[str]
    results: dict[str, str] = field(default_factory=dict)
    framed: bool = False
    _free: Counter[str] = field(default_factory=Counter)

    def ordered(self) -> list[Any]:
        """Return the nodes, each after those it reads; loops are cut somewhere."""
        placed: dict[str, Any] = {}
        seen: set[str] = set()

        for name in self.nodes:
            waiting = [(name, False)]

            while waiting:
                each, done = waiting.pop()

                if done:
                    placed[each] = self.nodes[each]
                elif each in self.nodes and each not in seen:
                    seen.add(each)
                    waiting.append((each, True))
                    waiting += [(node_of(t), False) for t in self.nodes[each].input]

        return list(placed.values())

    def producer(self, tensor: str) -> Any:
        """Return the node that makes `tensor`; `None` for a function's argument."""
        return self.nodes.get(node_of(tensor)) if ":" in tensor else None

    def add(self, node: Any, near: str) -> str:
        """Add `node`, renamed if its name is taken; return its first tensor.

        `near` is a tensor of the loop, if any, that `node` belongs to.
        """
        if node.op == "Const" and self.framed:
            # Without an input the constant would be outside the loop's frame.
            node.input.append(f"^{node_of(near)}")

        node.name = self._named(node.name)
        self.nodes[node.name] = node
        return f"{node.name}:0"

    def graft(
        self, graph_def: Any, given: Mapping[str, str], prefix: str
    ) -> dict[str, str]:
        """Add the nodes of `graph_def`; return their first tensors by old name.

        Each node stands behind those it reads and has one output. Placeholders are the
        `given` tensors of this scope.
        """
        names = dict(given)
        near = next(iter(given.values()))

        for each in graph_def.node:
            if each.name not in given:
                node = copy_of(each, f"{prefix}/{each.name}")
                node.input[:] = [names[node_of(tensor)] for tensor in each.input]
                names[each.name] = self.add(node, near)

        return names

    def value(self, tensor: str) -> Array | None:
        """Return the value of `tensor` if it is a constant, through identities."""
        node = self.producer(tensor)

        for _ in range(_MAX_STEPS):
            if node is None or node.op != "Identity":
                break

            node = self.producer(node.input[0])

        if node is None or node.op != "Const":
            return None

        array: Array = tf.make_ndarray(node.attr["value"].tensor)
        return array

    def dtype(self, tensor: str) -> int:
        """Return the dtype of `tensor`; int32 for a function's argument."""
        node = self.producer(tensor)
        kinds = [kind for _, _, kind in outputs(node)] if node is not None else []
        position = int(tensor.partition(":")[2] or 0)
        return kinds[position] if position < len(kinds) else _INT32

    def redirect(self, names: Mapping[str, str]) -> None:
        """Let all readers of a key of `names` read its value instead."""
        for node in self.nodes.values():
            node.input[:] = [names.get(each, each) for each in node.input]

        for result, tensor in self.results.items():
            self.results[result] = names.get(tensor, tensor)

    def drop_unused(self, names: Collection[str]) -> None:
        """Remove the nodes in `names` without readers."""
        uses = Counter(node_of(t) for n in self.nodes.values() for t in n.input)
        uses.update(map(node_of, (*self.results.values(), *self.roots)))
        waiting = [name for name in names if name in self.nodes]

        while waiting:
            name = waiting.pop()

            if name in self.nodes and not uses[name]:
                sources = list(map(node_of, self.nodes.pop(name).input))
                uses.subtract(sources)
                waiting += [each for each in sources if each in names]

    def _named(self, wanted: str) -> str:
        name = wanted

        while name in self.nodes or name in self.roots:
            self._free[wanted] += 1
            name = f"{wanted}_{self._free[wanted]}"

        return name


def scope_of(graph_def: Any, roots: Iterable[str]) -> Scope:
    """Return the graph as a scope, changed in place until `write_graph` is called.

    `roots` are the tensors that must keep their names.
    """
    nodes = {node.name: node for node in graph_def.node}

    for node in graph_def.node:
        node.input[:] = [_flat(tensor) for tensor in node.input]

    return Scope(
        place="",
        nodes=nodes,
        roots={_flat(root) for root in roots},
        framed=_has_frames(nodes),
    )


def write_graph(scope: Scope, graph_def: Any) -> None:
    """Write the changed nodes to `graph_def`."""
    for node in scope.nodes.values():
        node.input[:] = [tensor.removesuffix(":0") for tensor in node.input]

    _write(scope, graph_def.node)


def scope_in(function: Any, library: Mapping[str, Any]) -> Scope:
    """Return the body of `function`, one of `library`, as a scope."""
    nodes = {node.name: node for node in function.node_def}
    flat = {
        f"{name}:{argument}:{index}": f"{name}:{position}"
        for name, node in nodes.items()
        for position, (argument, index, _) in enumerate(outputs(node, library))
    }

    for node in function.node_def:
        node.input[:] = [flat.get(tensor, tensor) for tensor in node.input]

    return Scope(
        place=function.signature.name,
        nodes=nodes,
        # No node may have the name of an argument.
        roots={argument.name for argument in function.signature.input_arg},
        results={
            name: flat.get(tensor, tensor) for name, tensor in function.ret.items()
        },
        framed=_has_frames(nodes),
    )


def write_function(scope: Scope, function: Any, library: Mapping[str, Any]) -> None:
    """Write the changed nodes to `function`."""
    full = {
        f"{node.name}:{position}": f"{node.name}:{argument}:{index}"
        for node in scope.nodes.values()
        for position, (argument, index, _) in enumerate(outputs(node, library))
    }

    for node in scope.nodes.values():
        node.input[:] = [full.get(tensor, tensor) for tensor in node.input]

    _write(scope, function.node_def)

    for name, tensor in scope.results.items():
        function.ret[name] = full.get(tensor, tensor)


def _write(scope: Scope, nodes: Any) -> None:
    """Replace `nodes` by those of the scope."""
    # Unchanged nodes aren't copied: a graph's constants may take gigabytes.
    old = {node.name for node in nodes}

    # From the end, so that positions stay valid.
    for place in reversed(range(len(nodes))):
        if nodes[place].name not in scope.nodes:
            del nodes[place]

    nodes.extend(node for name, node in scope.nodes.items() if name not in old)


def _has_frames(nodes: Mapping[str, Any]) -> bool:
    return any(node.op in _FRAMES for node in nodes.values())


def outputs(
    node: Any, library: Mapping[str, Any] | None = None
) -> Iterator[tuple[str, int, int]]:
    """Yield each output of `node`: its argument, its place in that, and its dtype.

    `library` has functions by name, which an operation may be. Unknown operations yield
    nothing.
    """
    function = (library or {}).get(node.op)
    definition = function.signature if function else op_def_registry.get(node.op)

    for argument in definition.output_arg if definition else ():
        if argument.type_list_attr:
            kinds = list(attribute(node, argument.type_list_attr).list.type)
        else:
            number = argument.number_attr
            kind = argument.type or attribute(node, argument.type_attr).type
            kinds = [kind] * (attribute(node, number).i if number else 1)

        yield from ((argument.name, index, kind) for index, kind in enumerate(kinds))


def copy_of(node: Any, name: str) -> Any:
    """Return a copy without what was recorded of `node`: its shape and colocation."""
    copy = type(node)()
    copy.CopyFrom(node)
    copy.name = name

    for noted in ("_class", "_output_shapes"):
        copy.attr.pop(noted, None)

    return copy


def attribute(node: Any, name: str) -> Any:
    """Return an attribute's value, or the operation's default if it is missing."""
    if name in node.attr:
        return node.attr[name]

    definition = op_def_registry.get(node.op)
    defaults = {each.name: each.default_value for each in definition.attr}
    return defaults[name]


def input_dtype(node: Any) -> int:
    """Return the dtype of the first input of `node`."""
    argument = op_def_registry.get(node.op).input_arg[0]
    return int(argument.type or attribute(node, argument.type_attr).type)


def _flat(tensor: str) -> str:
    return tensor if ":" in tensor or tensor.startswith("^") else f"{tensor}:0"
