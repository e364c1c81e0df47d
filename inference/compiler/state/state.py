"""Variables that a call writes, such as a stateful RNN's state, made local to it.

A call starts from the stored values; later reads in the same call see its writes, and
other calls don't.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.backend import tf1
from inference.compiler.state.written_values import (
    ASSIGN,
    GATHERS,
    WRITES,
    become_gather,
    value_nodes,
)
from inference.errors import InvalidModel
from inference.formats.graph.graphdef import (
    FORWARDS,
    handle_of,
    located_nodes,
    node_of,
    reachable,
    tensor_of,
)
from inference.formats.graph.nodes import become_identity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

READ = "ReadVariableOp"
_PASSED_OVER = WRITES | FORWARDS | {"VarIsInitializedOp", "VariableShape"}


def writes_variables(graph_def: Any) -> bool:
    """Return whether the graph or one of its functions writes a variable."""
    return any(node.op in WRITES for _, node in located_nodes(graph_def))


def written_variables(graph_def: Any) -> set[str]:
    """Return the handles that the flat `graph_def` writes outside of functions."""
    return set(_Graph(graph_def, ()).writes)


@dataclass(slots=True, kw_only=True)
class LocalState:
    """The tensors that stand for the variables that a graph writes, by handle.

    `first` is the tensor that a call starts with. `last` is the one it ends with, by
    the signature's name and the handle; a signature that writes nothing has none.
    """

    first: dict[str, str] = field(default_factory=dict)
    last: dict[tuple[str, str], str] = field(default_factory=dict)


def localize(
    graph_def: Any,
    outputs: Mapping[str, Iterable[str]],
    *,
    carried: bool,
    kept: Collection[str],
    also: Collection[str] = (),
) -> LocalState:
    """Take the writes out of the flat `graph_def`, in place, except those to `kept`.

    Reads of `also` are replaced too, even if it is never written.

    A read after a write becomes the written value. If `carried`, the other reads take a
    placeholder that a client may feed, and the state after a call is found for the
    `outputs` of each signature. Raise `InvalidModel` if it can't be determined.
    """
    graph = _Graph(graph_def, kept)
    state = LocalState()

    for handle in dict.fromkeys([*graph.writes, *also]):
        state.first[handle] = graph.begin(handle, carried=carried)

    for name, tensors in outputs.items() if carried else ():
        for handle, tensor in graph.ends(tensors).items():
            state.last[name, handle] = tensor

    graph.replace_reads()
    graph.drop_writes()
    return state


class _Graph:
    """A flat graph, with the order of its reads and writes of variables."""

    def __init__(self, graph_def: Any, kept: Collection[str]) -> None:
        self._graph_def = graph_def
        self._nodes = {node.name: node for node in graph_def.node}
        self._users = _users(graph_def)
        self._handles = {
            node.name: handle_of(node.input[0], self._nodes)
            for node in graph_def.node
            if node.input and not node.input[0].startswith("^")
        }
        self.writes: dict[str, list[Any]] = defaultdict(list)

        for node in graph_def.node:
            if node.op in WRITES and self._handles[node.name] not in kept:
                self.writes[self._handles[node.name]].append(node)

        written = [node for nodes in self.writes.values() for node in nodes]
        self._after = {node.name: self._followers(node.name) for node in written}
        self._begin: dict[str, str] = {}
        self._carried = False
        self._values: dict[str, str] = {}
        self._added: list[Any] = []

    def begin(self, handle: str, *, carried: bool) -> str:
        """Add the tensor that stands for the value of `handle` before a call."""
        dtype = self._nodes[handle].attr["dtype"]
        self._carried = carried

        if carried:
            node = tf1.NodeDef(name=f"{handle}/carried", op="Placeholder")
            node.attr["shape"].CopyFrom(self._nodes[handle].attr["shape"])
        else:
            node = tf1.NodeDef(name=f"{handle}/stored", op=READ, input=[handle])

        node.attr["dtype"].CopyFrom(dtype)
        self._added.append(node)
        self._begin[handle] = node.name
        return tensor_of(node.name)

    def ends(self, tensors: Iterable[str]) -> dict[str, str]:
        """Return the value of each written handle after a call for `tensors`."""
        run = reachable(self._nodes, tensors)
        done = {
            handle: [write for write in writes if write.name in run]
            for handle, writes in self.writes.items()
        }
        return {
            handle: tensor_of(self._written(self._latest(writes), handle))
            for handle, writes in done.items()
            if writes
        }

    def replace_reads(self) -> None:
        for node in self._graph_def.node:
            handle = self._handles.get(node.name, "")

            if handle not in self._begin or node.op in _PASSED_OVER:
                continue

            before = self._before(node.name, handle)
            value = self._written(before, handle) if before else self._begin[handle]
            dtype = self._nodes[handle].attr["dtype"]

            if node.op == READ:
                node.attr["T"].CopyFrom(dtype)
                become_identity(node, value)
            elif node.op in GATHERS:
                self._added += become_gather(node, value, dtype)
            elif before is not None or self._carried:
                raise InvalidModel(
                    f"'{node.name}' ({node.op}) uses a variable that the same call "
                    "writes in a way that can't be kept within the call. Export the "
                    "model without the state."
                )

        self._graph_def.node.extend(self._added)

    def drop_writes(self) -> None:
        dropped = self._after.keys()
        kept = [node for node in self._graph_def.node if node.name not in dropped]

        for node in kept:
            left = [each for each in node.input if node_of(each) not in dropped]
            node.input[:] = left

        copies = [tf1.NodeDef.FromString(node.SerializeToString()) for node in kept]
        del self._graph_def.node[:]
        self._graph_def.node.extend(copies)

    def _followers(self, name: str) -> set[str]:
        found: set[str] = set()
        waiting = list(self._users[name])

        while waiting:
            user = waiting.pop()

            if user not in found:
                found.add(user)
                waiting += self._users[user]

        return found

    def _before(self, name: str, handle: str) -> Any:
        writes = self.writes.get(handle, ())
        done = [each for each in writes if name in self._after[each.name]]
        return self._latest(done) if done else None

    def _latest(self, writes: list[Any]) -> Any:
        # The last write has the fewest followers.
        last = min(writes, key=lambda each: len(self._after[each.name]))

        if any(
            last.name not in self._after[each.name]
            for each in writes
            if each is not last
        ):
            names = ", ".join(f"'{each.name}'" for each in writes[:2])
            raise InvalidModel(
                f"one variable is written by {names} in no defined order, so its value "
                "after a call is undefined. Export the model without the state."
            )

        return last

    def _written(self, write: Any, handle: str) -> str:
        """Return the tensor that `write` leaves in `handle`."""
        chain = []
        last = write

        while last is not None and last.op != ASSIGN and last.name not in self._values:
            chain.append(last)
            last = self._before(last.name, handle)

        if last is None:
            value = self._begin[handle]
        else:
            value = last.input[1] if last.op == ASSIGN else self._values[last.name]

        # Without recursion: an unrolled loop may write a thousand times.
        for each in reversed(chain):
            nodes = value_nodes(each, value, self._nodes[handle].attr["dtype"])
            self._added += nodes
            self._values[each.name] = value = nodes[-1].name

        return value


def _users(graph_def: Any) -> dict[str, list[str]]:
    users: dict[str, list[str]] = defaultdict(list)

    for node in graph_def.node:
        for tensor in node.input:
            users[node_of(tensor)].append(node.name)

    return users
