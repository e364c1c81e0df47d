"""Writes of variables that stand in a loop or a branch, and may never be done.

They are dropped where no read of the same call follows: a call's writes are its own,
so nobody could tell. Where one follows, the model is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.compiler.state import WRITES
from inference.errors import InvalidModel
from inference.sources.graphs import FORWARDS, node_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_LOOPS = {"While", "StatelessWhile", "For"}
_BRANCHES = {"If", "StatelessIf", "Case", "StatelessCase"}
_SWITCHES = {"Switch", "RefSwitch"}
_FLOW = FORWARDS | _SWITCHES | {"Enter", "RefEnter", "Merge", "NextIteration", "Exit"}
_HARMLESS = {"VarIsInitializedOp", "VariableShape"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """A node that reads the variable, writes it, or reads it after it wrote it.

    `framed` says that it stands in a loop of TF1.
    """

    node: str
    framed: bool = False
    reads: bool = False
    writes: bool = False
    rereads: bool = False


@dataclass(slots=True, kw_only=True)
class _Body:
    """A graph or a function: its nodes by name, and what each needs."""

    nodes: dict[str, Any]
    users: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.nodes.values():
            for tensor in node.input:
                self.users.setdefault(node_of(tensor), []).append(node.name)

    def after(self, name: str) -> set[str]:
        """Return what runs after the node `name`, by data or control edges."""
        found: set[str] = set()
        waiting = list(self.users.get(name, ()))

        while waiting:
            user = waiting.pop()

            if user not in found:
                found.add(user)
                waiting += self.users.get(user, ())

        return found

    def takers(self, handle: str) -> Iterator[tuple[Any, int, bool]]:
        """Yield each node that takes `handle`, as its which input, and if in a loop."""
        waiting, seen = [(handle, False)], {handle}

        while waiting:
            source, framed = waiting.pop()

            for name in dict.fromkeys(self.users.get(source, ())):
                node = self.nodes[name]
                places = [
                    place
                    for place, tensor in enumerate(node.input)
                    if node_of(tensor) == source and not tensor.startswith("^")
                ]

                if node.op not in _FLOW:
                    yield from ((node, place, framed) for place in places)
                elif places and name not in seen:
                    seen.add(name)
                    waiting.append((name, framed or node.op.endswith("Enter")))


def drop_hidden_writes(graph_def: Any, kept: Collection[str]) -> list[str]:
    """Drop them from the flat `graph_def`, in place; returns their names.

    Those to the variables `kept` stay. Raises `InvalidModel` where an answer could
    depend on one.
    """
    return _Hidden(graph_def).drop(kept)


class _Hidden:
    def __init__(self, graph_def: Any) -> None:
        self._graph_def = graph_def
        self._functions = {
            each.signature.name: each for each in graph_def.library.function
        }
        self._graph = _Body(nodes={node.name: node for node in graph_def.node})
        self._bodies = {
            name: _Body(nodes={node.name: node for node in each.node_def})
            for name, each in self._functions.items()
        }
        self._dropped: dict[str, set[str]] = {}

    def drop(self, kept: Collection[str]) -> list[str]:
        for node in self._graph_def.node:
            if node.op == "VarHandleOp" and node.name not in kept:
                self._judge(node.name)

        for function, names in self._dropped.items():
            if function:
                _drop(self._functions[function], names)
            else:
                _drop_nodes(self._graph_def.node, names)

        return sorted(name for names in self._dropped.values() for name in names)

    def _judge(self, handle: str) -> None:
        hidden: dict[str, set[str]] = {}
        uses = list(self._uses(self._graph, handle, "", hidden))

        if not hidden:
            return

        if _rereads(self._graph, uses):
            name = min(name for names in hidden.values() for name in names)
            raise InvalidModel(
                f"'{name}' writes the variable '{handle}' in a loop or a branch, and "
                "it is read again in the same call: requests would see each other. "
                "Export the model so that it takes and gives this state as a tensor."
            )

        for function, names in hidden.items():
            self._dropped.setdefault(function, set()).update(names)

    def _uses(
        self, body: _Body, handle: str, function: str, hidden: dict[str, set[str]]
    ) -> Iterator[_Use]:
        """Yield the uses of `handle`; `hidden` gains the writes, by their function."""
        for node, place, framed in body.takers(handle):
            if node.op in WRITES:
                if function or framed or _is_conditional(body.nodes, node):
                    hidden.setdefault(function, set()).add(node.name)

                yield _Use(node=node.name, writes=True, framed=framed)
            elif called := list(self._called(node, place)):
                yield self._call(node, called, hidden)
            elif node.op not in _HARMLESS:
                yield _Use(node=node.name, reads=True, framed=framed)

    def _call(
        self,
        node: Any,
        called: Iterable[tuple[str, int]],
        hidden: dict[str, set[str]],
    ) -> _Use:
        reads = writes = rereads = False

        for name, place in called:
            body = self._bodies[name]
            argument = self._functions[name].signature.input_arg[place].name
            uses = list(self._uses(body, argument, name, hidden))
            reads |= any(use.reads for use in uses)
            writes |= any(use.writes for use in uses)
            rereads |= _rereads(body, uses)

        rereads |= node.op in _LOOPS and reads and writes
        return _Use(node=node.name, reads=reads, writes=writes, rereads=rereads)

    def _called(self, node: Any, place: int) -> Iterator[tuple[str, int]]:
        """Yield the functions that get the input `place`, as their which argument."""
        if node.op in self._functions:
            yield node.op, place

        for value in node.attr.values():
            single = [value.func] if value.WhichOneof("value") == "func" else []

            for function in (*single, *value.list.func):
                if function.name in self._functions:
                    yield function.name, place - (node.op in _BRANCHES)


def _rereads(body: _Body, uses: list[_Use]) -> bool:
    readers = {use.node for use in uses if use.reads}
    framed = {use.reads for use in uses if use.framed}
    return (
        len(framed) == 2
        or any(use.rereads for use in uses)
        or any(readers & body.after(use.node) for use in uses if use.writes)
    )


def _drop(function: Any, names: set[str]) -> None:
    _drop_nodes(function.node_def, names)
    outputs = [key for key, node in function.control_ret.items() if node in names]

    for key in outputs:
        del function.control_ret[key]

    left = [each for each in function.signature.control_output if each not in outputs]
    function.signature.control_output[:] = left


def _drop_nodes(nodes: Any, names: set[str]) -> None:
    for place in reversed(range(len(nodes))):
        if nodes[place].name in names:
            del nodes[place]

    for node in nodes:
        left = [tensor for tensor in node.input if node_of(tensor) not in names]

        if len(left) < len(node.input):
            node.input[:] = left


def _is_conditional(nodes: dict[str, Any], write: Any) -> bool:
    return any(
        node.op in _SWITCHES and not _is_of_a_loop(nodes, node)
        for node in _ancestors(nodes, write)
    )


def _is_of_a_loop(nodes: dict[str, Any], switch: Any) -> bool:
    name = node_of(switch.input[1])

    while name in nodes and nodes[name].op in FORWARDS:
        name = node_of(nodes[name].input[0])

    return name in nodes and nodes[name].op == "LoopCond"


def _ancestors(nodes: dict[str, Any], node: Any) -> Iterable[Any]:
    seen: set[str] = set()
    waiting = [node_of(each) for each in node.input]

    while waiting:
        name = waiting.pop()

        if name in nodes and name not in seen:
            seen.add(name)
            yield nodes[name]
            waiting += [node_of(each) for each in nodes[name].input]
