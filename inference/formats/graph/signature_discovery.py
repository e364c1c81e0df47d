"""Discovery of the signature of a frozen graph, which declares none.

Inputs are the tensors that an output needs and that only a client can give:
placeholders, and values that an input pipeline would have delivered. Outputs are the
ends of the graph: tensors that depend on an input, have no reader, and have exactly one
value in each call, so they aren't inside a loop or a branch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel, InvalidSidecar
from inference.formats.graph.control_flow import (
    EXITS,
    MERGES,
    SWITCHES,
    find_control_flow,
)
from inference.formats.graph.graphdef import public_name
from inference.formats.graph.nodes import PIPELINE
from inference.formats.graph.optional_inputs import inference_value
from inference.formats.graph.side_outputs import drop_side_outputs
from inference.formats.graph.sidecar_signatures import tensor_spec
from inference.formats.graph.tensors import UNSERVABLE
from inference.types import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inference.formats.graph.topology import Operation, Wire

GIVEN = {"Placeholder", "PlaceholderV2"}
WHILES = {"While", "StatelessWhile"}
STUBS = {"Assert", "NoOp", "Print", "PrintV2", "Const", *SWITCHES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The tensors that a graph takes and returns, by name.

    `values` are those that training switches and settings have at inference, found by
    their use.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def discover(operations: list[Operation]) -> Found:
    """Find inputs and outputs by structure. Raise `InvalidModel` for none."""
    feedable = feedable_tensors(operations)
    ends = _ends(operations, _dependents(feedable.values()))

    if not ends:
        raise InvalidModel(_no_signature_message(operations, feedable))

    outputs = drop_side_outputs(
        [tensor for end in ends for tensor in _values(end) if _servable(tensor)],
        feedable,
    )
    return Found(
        inputs=tuple(tensor.name for tensor in inputs_of(outputs, feedable)),
        outputs=tuple(tensor.name for tensor in outputs),
    )


def found_signature(graph: Any, found: Found) -> Signature:
    """Return the signature of `found`, with dtypes and shapes from `graph`."""
    return Signature(
        name="serving_default",
        inputs=_specs(graph.get_tensor_by_name(name) for name in found.inputs),
        outputs=_specs(graph.get_tensor_by_name(name) for name in found.outputs),
    )


def add_needed_inputs(
    graph: Any, signature: Signature, values: Mapping[str, float]
) -> Signature:
    """Add the inputs that the outputs need beside the declared ones.

    Raise `InvalidSidecar` if one has no default and the sidecar doesn't name it.
    """
    declared = {spec.tensor: spec for spec in signature.inputs.values()}
    feedable = feedable_tensors(graph.get_operations())
    feedable |= {name: graph.get_tensor_by_name(name) for name in declared}
    outputs = [graph.get_tensor_by_name(s.tensor) for s in signature.outputs.values()]
    added = {
        name: spec
        for name, spec in _specs(inputs_of(outputs, feedable)).items()
        if spec.tensor not in declared
    }

    if declared:
        _check_defaults(graph, added, signature, values)

    return replace(signature, inputs={**signature.inputs, **added})


def feedable_tensors(operations: Iterable[Any]) -> dict[str, Any]:
    """Return the tensors that can be inputs, by name.

    A `PlaceholderWithDefault` is one, unless the graph computes its default from other
    inputs.
    """
    operations = list(operations)
    given = _outputs_of(operations, GIVEN)
    piped = _outputs_of(operations, PIPELINE)
    defaulted = {
        name: tensor
        for name, tensor in _outputs_of(operations, {"PlaceholderWithDefault"}).items()
        if not given.keys() & {t.name for t in inputs_of([tensor], given | piped)}
    }
    return given | piped | defaulted


def _check_defaults(
    graph: Any,
    added: dict[str, TensorSpec],
    signature: Signature,
    values: Mapping[str, float],
) -> None:
    for name, spec in added.items():
        kind = graph.get_tensor_by_name(spec.tensor).op.type

        if kind != "PlaceholderWithDefault" and inference_value(spec, values) is None:
            raise InvalidSidecar(
                f"signature '{signature.name}' also needs '{name}': name it among the "
                "inputs, or give its value under [constants]."
            )


def inputs_of(outputs: Iterable[Any], feedable: dict[str, Any]) -> list[Any]:
    """Return the feedable tensors that `outputs` need, ordered by name."""
    found: dict[str, Any] = {}
    seen = set()
    waiting = [tensor.op for tensor in outputs]

    while waiting:
        operation = waiting.pop()

        if operation in seen:
            continue

        seen.add(operation)
        waiting.extend(operation.control_inputs)

        for tensor in operation.inputs:
            if tensor.name in feedable:
                found[tensor.name] = tensor
            else:
                waiting.append(tensor.op)

    return [found[name] for name in sorted(found)]


def _ends(operations: list[Operation], reached: set[Operation]) -> list[Operation]:
    """Return the operations without readers; if all are stubs, those before the stubs.

    Operations in a branch count only if there are no others.
    """
    flow = find_control_flow(operations)
    candidates = [
        operation
        for operation in operations
        if operation in reached
        and operation.type not in STUBS
        and operation not in flow.controls
        and not flow.depths.get(operation)
        and any(_servable(tensor) for tensor in operation.outputs)
    ]
    # An operation in a branch has no value when the other branch is taken.
    settled = [each for each in candidates if flow.is_unconditional(each)]
    return _last(settled) or _last(candidates)


def _last(candidates: list[Operation]) -> list[Operation]:
    ends = [each for each in candidates if not _consumers(each) and not _is_left(each)]

    return ends or [
        operation
        for operation in candidates
        if all(consumer.type in STUBS for consumer in _consumers(operation))
    ]


def _is_left(operation: Operation) -> bool:
    """Return whether it is the end of a loop's variable that only the loop needed."""
    # TensorFlow 2 has a node wait for all ends of a loop that it lowers; a TF1 graph
    # keeps only the ends that were fetched.
    if operation.type in EXITS:
        return bool(operation.waiting)

    return operation.type == "Identity" and _is_spare(operation)


def _is_spare(identity: Operation) -> bool:
    """Return whether it stands behind a loop of which another variable is used."""
    # TensorFlow 2 puts an Identity behind each variable of a loop, its counter
    # included. If some have none, the graph was pruned to what was fetched.
    loops = [wire.op for wire in identity.inputs if wire.op.type in WHILES]
    return any(
        all(wire.consumers() for wire in loop.outputs)
        and any(
            each.type != "Identity" or _consumers(each) for each in _consumers(loop)
        )
        for loop in loops
    )


def _values(end: Operation) -> list[Wire]:
    """Return its outputs, without the branch index of a Merge."""
    return end.outputs[:1] if end.type in MERGES else end.outputs


def _dependents(tensors: Iterable[Any]) -> set[Any]:
    """Return the operations that depend on any of `tensors`."""
    found: set[Any] = set()
    waiting = [consumer for tensor in tensors for consumer in tensor.consumers()]

    while waiting:
        operation = waiting.pop()

        if operation not in found:
            found.add(operation)
            waiting.extend(_consumers(operation))

    return found


def _outputs_of(operations: Iterable[Any], kinds: set[str]) -> dict[str, Any]:
    return {
        tensor.name: tensor
        for operation in operations
        if operation.type in kinds
        for tensor in operation.outputs
        if _servable(tensor)
    }


def _consumers(operation: Any) -> list[Any]:
    return [consumer for tensor in operation.outputs for consumer in tensor.consumers()]


def _specs(tensors: Iterable[Any]) -> dict[str, TensorSpec]:
    return {
        public_name(tensor.name): tensor_spec(public_name(tensor.name), tensor)
        for tensor in tensors
    }


def _servable(tensor: Any) -> bool:
    """Return whether its dtype can be served; unknown operations are refused later."""
    return tensor.dtype is None or tensor.dtype.base_dtype.name not in UNSERVABLE


def _no_signature_message(operations: list[Any], feedable: dict[str, Any]) -> str:
    lacks = "an output that needs an input" if feedable else "an input"
    return (
        f"The graph has nothing to serve: none of its {len(operations)} nodes is "
        f"{lacks}. Name inputs and outputs in a TOML file beside it, or export it "
        "again."
    )
