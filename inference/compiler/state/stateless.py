"""A stateful source made stateless: each call is the first call of a fresh model."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from inference.compiler.rewriting.forms import inline
from inference.compiler.state.generators import generators
from inference.compiler.state.hidden_writes import drop_hidden_writes
from inference.compiler.state.hoisting import hoist
from inference.compiler.state.shared_tables import check_tables
from inference.compiler.state.state import localize, writes_variables, written_variables
from inference.errors import InvalidSidecar
from inference.formats.graph.graphdef import node_of, nodes_by_name, prune, reachable
from inference.formats.graph.nodes import become_read
from inference.formats.graph.optional_inputs import MAX_DEFAULT_BYTES
from inference.formats.graph.session import SessionReference, source_session
from inference.formats.graph.tensors import dtype_name
from inference.formats.kernels.rebuilding import rebuild
from inference.types import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from inference.compiler.state.state import LocalState
    from inference.formats.graph.source import Source
    from inference.types import Array, Signature

_NOTE = (
    "The model keeps state ({names}). Each request starts from a fresh model's state; "
    "with carry_state = true in the sidecar, clients can send it and get it back."
)
_HIDDEN = (
    "Writes by {names} in a loop or a branch are dropped; no output depends on them."
)


@contextmanager
def make_stateless(source: Source, *, carried: bool) -> Iterator[None]:
    """Keep what a call of `source` writes local to the call, until the block's end.

    The reference stays the original graph, its variables reset before each call. If
    `carried`, the state is an optional input and an output of each signature that has
    any. Raise `InvalidModel` or `InvalidSidecar`.
    """
    check_tables(source.graph_def)

    if not writes_variables(source.graph_def):
        _check_carry_state(carried)
        yield
        return

    flat = inline(source.graph_def, source.tensors())
    drawing = generators(flat, source.tensors())
    hoist(flat, drawing)
    hidden = drop_hidden_writes(flat, drawing)

    if hidden:
        names = ", ".join(f"'{name}'" for name in hidden)
        source.notes.append(_HIDDEN.format(names=names))

    if not hidden and not written_variables(flat) - drawing:
        _check_carry_state(carried)
        yield
        return

    with source_session() as session:
        source.graph_def = flat
        rebuild(session, source)
        _localize(source, session, drawing, carried=carried)
        yield


def _check_carry_state(carried: bool) -> None:
    if carried:
        raise InvalidSidecar(
            "carry_state is for a model that keeps state from call to call, and this "
            "one keeps none that could be carried. Remove the key."
        )


def _localize(
    source: Source, session: Any, kept: Collection[str], *, carried: bool
) -> None:
    outputs = _outputs(source)
    state = localize(source.graph_def, outputs, carried=carried, kept=kept)
    named = _names(source, _needed(source, state, outputs))
    _read_stored(source.graph_def, state, named)
    stored = {handle: source.variables[handle] for handle in named}
    source.reference = StatelessReference(session, stored, named)

    if carried:
        _check_carry_state(not named)
        _carry(source, state, named, outputs)
    elif named:
        source.notes.append(_NOTE.format(names=_describe(stored, named)))

    source.graph_def = prune(source.graph_def, source.tensors())
    kept = {node.name for node in source.graph_def.node}
    source.variables = {
        handle: value for handle, value in source.variables.items() if handle in kept
    }


def _outputs(source: Source) -> dict[str, list[str]]:
    return {
        name: [spec.tensor for spec in signature.outputs.values()]
        for name, signature in source.signatures.items()
    }


class StatelessReference:
    """The outputs of a graph that writes variables, reset before each call."""

    def __init__(
        self, session: Any, stored: Mapping[str, Array], named: Mapping[str, str]
    ) -> None:
        self._session = session
        self._stored = stored
        self._named = named
        graph = session.graph
        handles = {each: graph.get_tensor_by_name(f"{each}:0") for each in stored}

        with graph.as_default():
            self._given = {
                handle: tf1.placeholder(value.dtype, value.shape)
                for handle, value in stored.items()
            }
            self._assigns = [
                tf.raw_ops.AssignVariableOp(resource=handles[each], value=value)
                for each, value in self._given.items()
            ]
            self._reads = {
                handle: tf.raw_ops.ReadVariableOp(
                    resource=handles[handle], dtype=value.dtype
                )
                for handle, value in stored.items()
            }

    def __call__(
        self, signature: Signature, inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        own = {name: handle for handle, name in self._named.items()}
        initial = {
            self._given[handle]: inputs.get(self._named[handle], value)
            for handle, value in self._stored.items()
        }
        self._session.run(self._assigns, initial)
        asked = replace(
            signature,
            inputs={k: v for k, v in signature.inputs.items() if k not in own},
            outputs={k: v for k, v in signature.outputs.items() if k not in own},
        )
        given = {name: value for name, value in inputs.items() if name not in own}
        answers = SessionReference(self._session)(asked, given)
        carried = [name for name in signature.outputs if name in own]
        left: dict[str, Array] = self._session.run(
            {name: self._reads[own[name]] for name in carried}
        )
        return answers | left


def _needed(
    source: Source, state: LocalState, outputs: Mapping[str, list[str]]
) -> list[str]:
    """Return the handles whose state an output depends on, now or in a later call."""
    nodes = nodes_by_name(source.graph_def)
    waiting = [tensor for tensors in outputs.values() for tensor in tensors]
    needed: dict[str, None] = {}

    while waiting:
        # Control inputs carry no values.
        run = reachable(nodes, waiting, controls=False)
        found = [
            handle
            for handle, first in state.first.items()
            if node_of(first) in run and handle not in needed
        ]
        needed |= dict.fromkeys(found)
        waiting = [
            tensor for (_, handle), tensor in state.last.items() if handle in found
        ]

    return [handle for handle in state.first if handle in needed]


def _read_stored(graph_def: Any, state: LocalState, named: Mapping[str, str]) -> None:
    """Let state without a name start from the stored value: no client can send it."""
    nodes = nodes_by_name(graph_def)

    for handle, first in state.first.items():
        if handle not in named:
            begin = nodes[node_of(first)]
            become_read(begin, handle, begin.attr["dtype"].type)


def _names(source: Source, handles: list[str]) -> dict[str, str]:
    """Return for the state in each handle a name that no input or output has."""
    taken = {
        name
        for signature in source.signatures.values()
        for name in (*signature.inputs, *signature.outputs)
    }
    free = (
        name
        for name in ("state", *(f"state_{place}" for place in range(1, 10_000)))
        if name not in taken
    )
    return dict(zip(handles, free, strict=False))


def _carry(
    source: Source,
    state: LocalState,
    named: Mapping[str, str],
    outputs: Mapping[str, list[str]],
) -> None:
    """Add to each signature the state that it reads and the state that it writes."""
    nodes = nodes_by_name(source.graph_def)

    for name, signature in source.signatures.items():
        last = {
            handle: tensor
            for (writer, handle), tensor in state.last.items()
            if writer == name and handle in named
        }
        tensors = [*outputs[name], *last.values()]
        needed = reachable(nodes, tensors, controls=False)
        specs = {
            handle: _spec(named[handle], first, source.variables[handle])
            for handle, first in state.first.items()
            if handle in named and (handle in last or node_of(first) in needed)
        }
        left = [
            replace(specs[handle], tensor=tensor, default=None)
            for handle, tensor in last.items()
        ]
        source.signatures[name] = replace(
            signature,
            inputs={**signature.inputs, **{each.name: each for each in specs.values()}},
            outputs={**signature.outputs, **{each.name: each for each in left}},
        )


def _spec(name: str, tensor: str, value: Array) -> TensorSpec:
    if value.nbytes > MAX_DEFAULT_BYTES:
        raise InvalidSidecar(
            f"carry_state lets clients send '{name}', which has {value.nbytes:,} "
            f"bytes; it may have {MAX_DEFAULT_BYTES:,}. Remove the key."
        )

    return TensorSpec(
        name=name,
        tensor=tensor,
        dtype=dtype_name(tf.dtypes.as_dtype(value.dtype)),
        shape=value.shape,
        default=value,
    )


def _describe(stored: Mapping[str, Array], named: Mapping[str, str]) -> str:
    return ", ".join(f"{named[each]} {value.shape}" for each, value in stored.items())
