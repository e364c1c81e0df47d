"""Variable writes in TF1's branches and loops, which may never happen.

They are dropped if no read follows in the same call: a call's writes are local, so the
drop can't be observed. If a read follows, the model is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.compiler.state.written_values import WRITES
from inference.errors import InvalidModel
from inference.formats.graph.graphdef import FORWARDS, node_of, nodes_by_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_SWITCHES = {"Switch", "RefSwitch"}
_FLOW = FORWARDS | _SWITCHES | {"Enter", "RefEnter", "Merge", "NextIteration", "Exit"}
_HARMLESS = {"VarIsInitializedOp", "VariableShape"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """A node that takes a variable's handle, to write or to read it.

    `framed` says that it stands in a loop.
    """

    node: str
    writes: bool
    framed: bool


def drop_hidden_writes(graph_def: Any, kept: Collection[str]) -> list[str]:
    """Drop such writes from the flat `graph_def`, in place; return their names.

    Writes to the variables `kept` stay. Raise `InvalidModel` if an output could depend
    on a dropped one.
    """
    flow = _Flow(graph_def)
    hidden = {
        name
        for node in graph_def.node
        if node.op == "VarHandleOp" and node.name not in kept
        for name in flow.hidden_writes(node.name)
    }
    left = [node for node in graph_def.node if node.name not in hidden]

    if hidden:
        for node in left:
            node.input[:] = [each for each in node.input if node_of(each) not in hidden]

        copies = [type(node).FromString(node.SerializeToString()) for node in left]
        del graph_def.node[:]
        graph_def.node.extend(copies)

    return sorted(hidden)


class _Flow:
    """The edges of handles and of execution order in a graph."""

    def __init__(self, graph_def: Any) -> None:
        self._nodes = nodes_by_name(graph_def)
        self._users: dict[str, list[str]] = {}

        for node in graph_def.node:
            for tensor in node.input:
                self._users.setdefault(node_of(tensor), []).append(node.name)

    def hidden_writes(self, handle: str) -> set[str]:
        uses = list(self._uses(handle))
        hidden = {
            use.node
            for use in uses
            if use.writes and (use.framed or self._is_conditional(use.node))
        }

        if hidden and self._rereads(uses):
            raise InvalidModel(
                f"'{min(hidden)}' writes the variable '{handle}' in a loop or branch, "
                "and it is read again in the same call: requests would share state. "
                "Export the model with the state as an input and an output."
            )

        return hidden

    def _uses(self, handle: str) -> Iterator[_Use]:
        waiting, seen = [(handle, False)], {handle}

        while waiting:
            source, framed = waiting.pop()

            for name in dict.fromkeys(self._users.get(source, ())):
                node = self._nodes[name]

                if not any(node_of(each) == source for each in _data(node)):
                    continue

                if node.op in _FLOW and name not in seen:
                    seen.add(name)
                    waiting.append((name, framed or node.op.endswith("Enter")))
                elif node.op not in _FLOW | _HARMLESS:
                    yield _Use(node=name, writes=node.op in WRITES, framed=framed)

    def _rereads(self, uses: list[_Use]) -> bool:
        readers = {use.node for use in uses if not use.writes}
        looped = {use.writes for use in uses if use.framed}
        # With a read and a write in loops, a later step reads what an earlier one
        # wrote.
        return len(looped) == 2 or any(
            readers & self._after(use.node) for use in uses if use.writes
        )

    def _after(self, name: str) -> set[str]:
        """Return the nodes that run after the node `name`, by data or control edges."""
        found: set[str] = set()
        waiting = list(self._users.get(name, ()))

        while waiting:
            user = waiting.pop()

            if user not in found:
                found.add(user)
                waiting += self._users.get(user, ())

        return found

    def _is_conditional(self, name: str) -> bool:
        return any(
            node.op in _SWITCHES and not self._is_of_a_loop(node)
            for node in self._ancestors(name)
        )

    def _is_of_a_loop(self, switch: Any) -> bool:
        name = node_of(switch.input[1])

        while name in self._nodes and self._nodes[name].op in FORWARDS:
            name = node_of(self._nodes[name].input[0])

        return name in self._nodes and self._nodes[name].op == "LoopCond"

    def _ancestors(self, name: str) -> Iterator[Any]:
        seen: set[str] = set()
        waiting = [node_of(each) for each in self._nodes[name].input]

        while waiting:
            each = waiting.pop()

            if each in self._nodes and each not in seen:
                seen.add(each)
                yield self._nodes[each]
                waiting += [node_of(tensor) for tensor in self._nodes[each].input]


def _data(node: Any) -> list[str]:
    return [tensor for tensor in node.input if not tensor.startswith("^")]
