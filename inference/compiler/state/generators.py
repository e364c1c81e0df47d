"""Variables with the state of a random generator, which stay shared by all calls.

Their writes tell nothing about a request; if they were dropped, each call would draw
the same numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.compiler.state.written_values import WRITES
from inference.formats.graph.graphdef import callees, handle_of, node_of, nodes_by_name

if TYPE_CHECKING:
    from collections.abc import Collection

_CONTROL = {"StatelessCase", "StatelessIf", "StatelessWhile"}


def generators(graph_def: Any, outputs: Collection[str]) -> set[str]:
    """Return the handles of integer variables that are read only for random draws.

    Judged by use: no read may reach one of `outputs`, or another variable, except
    through an operation that takes its integers as a seed.
    """
    users: dict[str, list[Any]] = {}

    for node in graph_def.node:
        for tensor in node.input:
            if not tensor.startswith("^"):
                users.setdefault(node_of(tensor), []).append(node)

    uses = _RandomUses(graph_def, users, {node_of(output) for output in outputs})
    return {
        node.name
        for node in graph_def.node
        if node.op == "VarHandleOp"
        and tf.dtypes.as_dtype(node.attr["dtype"].type).is_integer
        and uses.feeds_only_draws(node.name)
    }


class _RandomUses:
    def __init__(
        self, graph_def: Any, users: dict[str, list[Any]], outputs: set[str]
    ) -> None:
        self._bodies = {
            each.signature.name: each.node_def for each in graph_def.library.function
        }
        self._drawing: dict[str, bool] = {}
        self._nodes = nodes_by_name(graph_def)
        self._users = users
        self._outputs = outputs

    def feeds_only_draws(self, handle: str) -> bool:
        """Return whether the reads of `handle` end in random draws, and in some."""
        waiting, seen = [handle], {handle}
        drawn = False

        while waiting:
            source = waiting.pop()

            for node in self._users.get(source, ()):
                if self._draws(node):
                    drawn = True
                elif node.op in WRITES:
                    # Its value is stored in another variable.
                    if handle_of(node.input[0], self._nodes) != handle:
                        return False
                elif node.name not in seen:
                    seen.add(node.name)
                    waiting.append(node.name)

        return drawn and not seen & self._outputs

    def _draws(self, node: Any) -> bool:
        if node.op.startswith("Stateless") and node.op not in _CONTROL:
            return True

        return any(self._function_draws(name) for name in callees(node))

    def _function_draws(self, name: str) -> bool:
        if name not in self._drawing:
            body = self._bodies.get(name, ())
            self._drawing[name] = any(self._draws(inner) for inner in body)

        return self._drawing[name]
