"""A source with state, brought to where every call is the first of a fresh model."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from inference.backend import tf, tf1
from inference.compiler.optimization import inline
from inference.compiler.state import conditional_write, localize, writes_variables
from inference.errors import InvalidSidecar
from inference.sources.graphs import prune
from inference.sources.kernels.rebuilding import rebuild
from inference.sources.session import SessionReference, source_session
from inference.sources.tensors import dtype_name
from inference.types import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inference.compiler.state import LocalState
    from inference.sources.source import Source
    from inference.types import Array, Signature

_NOTE = (
    "The model keeps state ({names}). Each request is answered as a fresh model does; "
    "with carry_state = true in the sidecar, clients may send it on."
)
_BRANCH = "'{name}' writes a variable in a loop or a branch, which is left as it is."


@contextmanager
def fresh_calls(source: Source, *, carried: bool) -> Iterator[None]:
    """Make what a call of `source` writes the call's own, until the block's end.

    The graph as it was is the reference, its variables set anew for each call. If
    `carried`, the state is an optional input and an output of each signature that has
    any. Raises `InvalidModel` and `InvalidSidecar`.
    """
    if not writes_variables(source.graph_def):
        _expect_state(carried)
        yield
        return

    flat = inline(source.graph_def, source.tensors())
    name = conditional_write(flat)

    if name is not None or not writes_variables(flat):
        _expect_state(carried)

        if name is not None:
            source.notes.append(_BRANCH.format(name=name))
            source.shared_write = name

        yield
        return

    with source_session() as session:
        source.graph_def = flat
        rebuild(session, source)
        _adopt(source, session, carried=carried)
        yield


def _expect_state(carried: bool) -> None:
    if carried:
        raise InvalidSidecar(
            "carry_state is for a model that keeps state from call to call, and this "
            "one keeps none that could be carried. Take the key out."
        )


def _adopt(source: Source, session: Any, *, carried: bool) -> None:
    outputs = {
        name: [spec.tensor for spec in signature.outputs.values()]
        for name, signature in source.signatures.items()
    }
    state = localize(source.graph_def, outputs, carried=carried)
    named = _names(source, state)
    stored = {handle: source.variables[handle] for handle in named}
    source.reference = FreshReference(session, stored, named)

    if carried:
        source.signatures = {
            name: _carrying(signature, state, named, stored)
            for name, signature in source.signatures.items()
        }
    else:
        source.notes.append(_NOTE.format(names=_told(stored, named)))

    source.graph_def = prune(source.graph_def, source.tensors())
    kept = {node.name for node in source.graph_def.node}
    source.variables = {
        handle: value for handle, value in source.variables.items() if handle in kept
    }


class FreshReference:
    """The answers of a graph that writes variables, set anew before each call."""

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
        begun = {
            self._given[handle]: inputs.get(self._named[handle], value)
            for handle, value in self._stored.items()
        }
        self._session.run(self._assigns, begun)
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


def _names(source: Source, state: LocalState) -> dict[str, str]:
    """Return a name for the state in each handle that no input or output has."""
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
    return dict(zip(state.first, free, strict=False))


def _carrying(
    signature: Signature,
    state: LocalState,
    named: Mapping[str, str],
    stored: Mapping[str, Array],
) -> Signature:
    """Add the state that a call of this signature writes."""
    last = {
        handle: tensor
        for (name, handle), tensor in state.last.items()
        if name == signature.name
    }
    inputs = {
        named[handle]: _spec(named[handle], state.first[handle], stored[handle])
        for handle in last
    }
    outputs = {
        named[handle]: replace(inputs[named[handle]], tensor=tensor, default=None)
        for handle, tensor in last.items()
    }
    return replace(
        signature,
        inputs={**signature.inputs, **inputs},
        outputs={**signature.outputs, **outputs},
    )


def _spec(name: str, tensor: str, value: Array) -> TensorSpec:
    return TensorSpec(
        name=name,
        tensor=tensor,
        dtype=dtype_name(tf.dtypes.as_dtype(value.dtype)),
        shape=value.shape,
        default=value,
    )


def _told(stored: Mapping[str, Array], named: Mapping[str, str]) -> str:
    return ", ".join(f"{named[each]} {value.shape}" for each, value in stored.items())
