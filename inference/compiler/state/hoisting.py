"""State of loops and branches, passed to them and back as values.

A loop or a branch that writes a variable then takes the variable's value before it and
returns the value after it; the read and the write stand beside it, in the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.compiler.state.bodies import ExtraTensor, to_function, to_graph
from inference.compiler.state.state import READ, localize
from inference.compiler.state.written_values import ASSIGN, WRITES
from inference.errors import InvalidModel
from inference.formats.graph.graphdef import (
    BRANCHES,
    CALLS,
    callees,
    handle_of,
    nodes_by_name,
    tensor_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

_LOOPS = {"While", "StatelessWhile"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _VariableType:
    """The attributes `dtype` and `shape` of a variable."""

    dtype: Any
    shape: Any


def hoist(graph_def: Any, kept: Collection[str]) -> None:
    """Pass the variables that the flat `graph_def` writes through its calls, in place.

    The variables `kept` stay as they are. Raise `InvalidModel` if that isn't possible.
    """
    hoisting = _Hoisting(graph_def)
    written = hoisting.written(graph_def) - set(kept)
    kinds = {
        node.name: _VariableType(dtype=node.attr["dtype"], shape=node.attr["shape"])
        for node in graph_def.node
        if node.op == "VarHandleOp" and node.name in written
    }
    hoisting.hoist(graph_def, kinds)
    graph_def.library.function.extend(hoisting.made.values())


class _Hoisting:
    def __init__(self, graph_def: Any) -> None:
        self._library = {
            each.signature.name: each for each in graph_def.library.function
        }
        self._writing: dict[str, frozenset[int]] = {}
        self.made: dict[str, Any] = {}

    def written(self, graph_def: Any) -> set[str]:
        """Return the nodes whose handles are written, directly or by calls."""
        nodes = nodes_by_name(graph_def)
        found = set()

        for node in graph_def.node:
            places = {0} if node.op in WRITES else self._written_places(node)
            found |= {handle_of(node.input[place], nodes) for place in places}

        return found

    def hoist(self, graph_def: Any, kinds: Mapping[str, _VariableType]) -> None:
        nodes = nodes_by_name(graph_def)
        calls = [node for node in graph_def.node if self._calls(node)]

        for node in calls:
            handles = {
                place: origin
                for place, tensor in enumerate(node.input)
                if not tensor.startswith("^")
                and (origin := handle_of(tensor, nodes)) in kinds
            }

            if handles:
                self._check_supported(node)
                self._pass_state(graph_def, node, handles, kinds)

    def _pass_state(
        self,
        graph_def: Any,
        node: Any,
        handles: dict[int, str],
        kinds: Mapping[str, _VariableType],
    ) -> None:
        writes = self._written_places(node)
        given = {place: kinds[handle] for place, handle in handles.items()}
        # A loop returns what it takes, so one attribute has the types of both.
        first = len(node.attr["T" if node.op in _LOOPS else "Tout"].list.type)
        self._rename_functions(node, given)
        _widen(node, list(given.values()))
        controls = [each for each in node.input if each.startswith("^")]
        plain = [each for each in node.input if not each.startswith("^")]
        reads = []

        for number, (place, kind) in enumerate(given.items()):
            read = graph_def.node.add(name=f"{node.name}/before_{place}", op=READ)
            read.input.extend([handles[place], *controls])
            read.attr["dtype"].CopyFrom(kind.dtype)
            reads.append(read.name)

            if place in writes:
                name, value = (
                    f"{node.name}/after_{place}",
                    f"{node.name}:{first + number}",
                )
                _add_write(graph_def, name, handles[place], value, kind)
                _run_after(graph_def, node.name, name)

        node.input[:] = [*plain, *reads, *controls]

    def _rename_functions(self, node: Any, given: Mapping[int, _VariableType]) -> None:
        """Let `node` call functions that take the values at the places `given` too."""
        places = [place - (node.op in BRANCHES) for place in given]

        for function in _function_attributes(node):
            # A loop's condition takes the state and doesn't return it.
            whole = node.op not in _LOOPS or function is not node.attr["cond"].func
            function.name = self._with_state(
                function.name, places, list(given.values()), returning=whole
            )

    def _with_state(
        self,
        name: str,
        places: list[int],
        kinds: list[_VariableType],
        *,
        returning: bool,
    ) -> str:
        """Return the function that also takes the values of the handles at `places`.

        It is made if the library doesn't have it.
        """
        made = f"{name}/handed_{'_'.join(map(str, places))}"

        if made not in self._library:
            function = self._library[name]
            finished = self._extended(function, places, kinds, returning=returning)
            finished.signature.name = made
            self._library[made] = self.made[made] = finished

        return made

    def _extended(
        self,
        function: Any,
        places: list[int],
        kinds: list[_VariableType],
        *,
        returning: bool,
    ) -> Any:
        body = to_graph(function, self._library)
        names = [function.signature.input_arg[place].name for place in places]
        inner = dict(zip(names, kinds, strict=True))
        _become_handles(body.graph_def, inner)
        self.hoist(body.graph_def, inner)
        others = self.written(body.graph_def) - inner.keys()
        state = localize(
            body.graph_def, {"": body.roots()}, carried=True, kept=others, also=names
        )
        tensors = [(state.first[each], state.last.get(("", each))) for each in names]
        before = _added("before", [first for first, _ in tensors], kinds)
        after = _added("after", [last or first for first, last in tensors], kinds)
        extended = to_function(
            function,
            body,
            self._library,
            arguments=before,
            results=after if returning else [],
        )

        if "_input_shapes" in extended.attr:
            shapes = extended.attr["_input_shapes"].list.shape
            shapes.extend(kind.shape.shape for kind in kinds)

        return extended

    def _calls(self, node: Any) -> bool:
        return any(name in self._library for name in callees(node))

    def _check_supported(self, node: Any) -> None:
        """Raise `InvalidModel` for a call that can't take more arguments."""
        writing = node.op in _LOOPS and self._writes(node.attr["cond"].func.name)

        if writing or node.op not in CALLS | BRANCHES | _LOOPS:
            raise InvalidModel(
                f"'{node.name}' ({node.op}) uses a variable that the model writes in a "
                "way that can't be kept within one call: requests would share state. "
                "Export the model without the state."
            )

    def _written_places(self, node: Any) -> set[int]:
        """Return the inputs of `node` that its functions write."""
        shift = node.op in BRANCHES
        return {place + shift for name in callees(node) for place in self._writes(name)}

    def _writes(self, name: str) -> frozenset[int]:
        """Return the arguments that the function `name` writes."""
        if name not in self._library:
            return frozenset()

        if name not in self._writing:
            function = self._library[name]
            handles = self.written(to_graph(function, self._library).graph_def)
            names = [each.name for each in function.signature.input_arg]
            self._writing[name] = frozenset(
                place for place, each in enumerate(names) if each in handles
            )

        return self._writing[name]


def _become_handles(graph_def: Any, kinds: Mapping[str, _VariableType]) -> None:
    """Turn the arguments named in `kinds` into variables of the body, in place."""
    nodes = nodes_by_name(graph_def)

    for handle, kind in kinds.items():
        nodes[handle].op = "VarHandleOp"
        nodes[handle].attr["dtype"].CopyFrom(kind.dtype)
        nodes[handle].attr["shape"].CopyFrom(kind.shape)


def _added(
    when: str, tensors: list[str], kinds: list[_VariableType]
) -> list[ExtraTensor]:
    """Return a function's added arguments or results, one for each piece of state."""
    return [
        ExtraTensor(
            name=f"state_{when}_{number}",
            tensor=tensor_of(tensor) if when == "after" else tensor,
            dtype=kind.dtype.type,
        )
        for number, (tensor, kind) in enumerate(zip(tensors, kinds, strict=True))
    ]


def _widen(node: Any, kinds: list[_VariableType]) -> None:
    """Add values of `kinds` to the input and output types of `node`."""
    types = [kind.dtype.type for kind in kinds]

    for key in ("T",) if node.op in _LOOPS else ("Tin", "Tout"):
        node.attr[key].list.type.extend(types)

    if node.attr["output_shapes"].list.shape:
        shapes = [kind.shape.shape for kind in kinds]
        node.attr["output_shapes"].list.shape.extend(shapes)


def _add_write(
    graph_def: Any, name: str, handle: str, value: str, kind: _VariableType
) -> None:
    write = graph_def.node.add(name=name, op=ASSIGN)
    write.input.extend([handle, value])
    write.attr["dtype"].CopyFrom(kind.dtype)


def _run_after(graph_def: Any, name: str, after: str) -> None:
    """Let the nodes that run after the node `name` run after the node `after` too."""
    for node in graph_def.node:
        if f"^{name}" in node.input:
            node.input.append(f"^{after}")


def _function_attributes(node: Any) -> Iterator[Any]:
    """Yield the functions in the attributes of a call, to be read or renamed."""
    if node.op not in CALLS | BRANCHES | _LOOPS:
        return

    for value in node.attr.values():
        if value.WhichOneof("value") == "func":
            yield value.func

        yield from value.list.func
