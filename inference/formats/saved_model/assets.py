"""The asset that a tensor names, followed through a graph's functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from inference.formats.graph.graphdef import (
    CALLS,
    callees,
    located_nodes,
    node_of,
    tensor_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_ASSIGNS = {"Assign", "AssignVariableOp"}
_MAX_STEPS = 64
_MAX_LOOKS = 10_000

Place = tuple[str, str]
"""A function, `""` for the graph, and a tensor in it."""


class AssetFiles:
    """The places where a graph names an asset file.

    `assets` are paths by the tensor that is fed with them. Identities, calls, and
    variables that an asset's name is assigned to are followed. The result is always one
    of `assets`, so a misleading graph only gets the wrong one.
    """

    def __init__(self, graph_def: Any, assets: Mapping[str, str]) -> None:
        self._assets = assets
        self._arguments = {
            function.signature.name: [
                each.name for each in function.signature.input_arg
            ]
            for function in graph_def.library.function
        }
        self._nodes: dict[Place, Any] = {}
        self._assigns: list[tuple[str, Any]] = []
        self._callers: dict[str, list[tuple[str, Any]]] = {}
        self._looks = 0

        for function, node in located_nodes(graph_def):
            self._nodes[function, node.name] = node

            if node.op in _ASSIGNS and len(node.input) > 1:
                self._assigns.append((function, node))

            for name in callees(node):
                if name in self._arguments:
                    self._callers.setdefault(name, []).append((function, node))

    def file_of(
        self, tensor: str, function: str, steps: int = _MAX_STEPS
    ) -> str | None:
        """Return the path of the asset that `tensor`, in `function`, names."""
        found = self._origin(tensor, function, steps)

        if found is None:
            return None

        function, tensor = found

        if not function and tensor_of(tensor) in self._assets:
            return self._assets[tensor_of(tensor)]

        node = self._nodes.get((function, node_of(tensor)))

        if node is None or node.op != "ReadVariableOp" or not node.input:
            return None

        handle = self._origin(node.input[0], function, steps)
        return None if handle is None else self._assigned(handle, steps - 1)

    def _assigned(self, handle: Place, steps: int) -> str | None:
        """Return the asset assigned to the variable whose handle is `handle`."""
        files = {
            self.file_of(node.input[1], function, steps)
            for function, node in self._assigns
            if self._origin(node.input[0], function, steps) == handle
        }
        return files.pop() if len(files) == 1 else None

    def _origin(self, tensor: str, function: str, steps: int) -> Place | None:
        """Return the function and the tensor in it that `tensor` passes on."""
        self._looks += 1

        # A crafted graph can call functions in cycles, or branch at each step.
        if steps <= 0 or self._looks > _MAX_LOOKS:
            return None

        if not function and tensor_of(tensor) in self._assets:
            return function, tensor

        if function and tensor in self._arguments[function]:
            position = self._arguments[function].index(tensor)
            return self._from_callers(function, position, steps - 1)

        node = self._nodes.get((function, node_of(tensor)))

        if node is not None and node.op == "Identity" and node.input:
            return self._origin(node.input[0], function, steps - 1)

        return function, tensor

    def _from_callers(self, function: str, position: int, steps: int) -> Place | None:
        """Return the place that all callers of `function` give it."""
        given = {
            self._origin(node.input[position], caller, steps)
            if node.op in (*CALLS, function) and position < len(node.input)
            else None
            for caller, node in self._callers.get(function, [])
        }
        return given.pop() if len(given) == 1 else None
