"""Inputs of a TF2 signature that are the parts of one ragged or sparse tensor.

`tf.saved_model.save` splits a ragged `x` into inputs `x`, `x_1`, …, and the signature
no longer says so. The function that it calls does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tensorflow.core.protobuf.struct_pb2 import TypeSpecProto

from inference.backend import tf
from inference.formats.graph.graphdef import CALLS, node_of, nodes_by_name
from inference.formats.graph.tensors import shape_of
from inference.types import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inference.types import Shape, Signature, TensorSpec

SPARSE_ROLES = ("indices", "values", "shape")


@dataclass(frozen=True, slots=True)
class FlatSpec:
    """The `count` consecutive tensors that a function has for one value.

    `kind` is `""` for a plain tensor, `spec` the function's own description of the
    value.
    """

    kind: str
    count: int
    shape: Shape
    spec: Any

    def roles(self) -> Sequence[str]:
        return SPARSE_ROLES if self.kind == "sparse" else ragged_roles(self.count)


def ragged_roles(count: int) -> list[str]:
    """Return the roles of the values and row splits, numbered as TensorFlow does."""
    numbered = [f"row_splits_{place}" for place in range(1, count - 1)]
    return ["values", "row_splits", *numbered][:count]


def spec_shape(spec: Any) -> Shape:
    """Return the shape in the `TypeSpecProto` of a ragged or sparse tensor."""
    state = spec.type_state.tuple_value.values
    stated = len(state) > 0 and state[0].WhichOneof("kind") == "tensor_shape_value"
    return shape_of(tf.TensorShape(state[0].tensor_shape_value)) if stated else None


class InputParts:
    """The inputs of a SavedModel's functions, and the signatures that call them."""

    def __init__(self, meta_graph: Any) -> None:
        self._nodes = nodes_by_name(meta_graph.graph_def)
        self._functions = meta_graph.object_graph_def.concrete_functions
        self._bodies = {
            function.signature.name: function
            for function in meta_graph.graph_def.library.function
        }

    def label(self, signature: Signature) -> Signature:
        """Return the signature, its inputs labelled with their composites."""
        by_tensor = {node_of(spec.tensor): spec for spec in signature.inputs.values()}
        labelled = {
            spec.name: replace(spec, part=part)
            for tensors, flat in self._composites(signature)
            for spec, part in _parts([by_tensor.get(each) for each in tensors], flat)
        }
        return replace(signature, inputs={**signature.inputs, **labelled})

    def _composites(self, signature: Signature) -> Iterator[tuple[list[str], FlatSpec]]:
        """Yield each composite value: its nodes in the graph, and its spec."""
        output = next(iter(signature.outputs.values()))
        call = self._nodes.get(node_of(output.tensor))

        if call is None or call.op not in CALLS:
            return

        given = [node_of(tensor) for tensor in call.input]
        yield from self._taken(call, given)
        body = self._bodies.get(call.attr["f"].func.name)
        arguments = [each.name for each in body.signature.input_arg] if body else []
        fed = dict(zip(arguments, given, strict=False))

        for inner in body.node_def if body else ():
            yield from self._taken(inner, [fed.get(each, "") for each in inner.input])

    def _taken(
        self, call: Any, given: list[str]
    ) -> Iterator[tuple[list[str], FlatSpec]]:
        called = call.attr["f"].func.name if call.op in CALLS else ""

        if called in self._functions:
            yield from _groups(given, self._functions[called])


def _groups(taken: list[str], function: Any) -> Iterator[tuple[list[str], FlatSpec]]:
    start = 0

    for flat in flatten_structure(function.canonicalized_input_signature):
        if flat.kind:
            yield taken[start : start + flat.count], flat

        start += flat.count


def _parts(
    specs: list[TensorSpec | None], flat: FlatSpec
) -> Iterator[tuple[TensorSpec, Part]]:
    """Yield the parts of a composite with known inputs, named after the first."""
    first = specs[0] if specs else None

    if first is None or None in specs or len(specs) != flat.count:
        return

    for spec, role in zip(specs, flat.roles(), strict=True):
        if spec is not None:
            part = Part(of=first.name, kind=flat.kind, role=role, shape=flat.shape)
            yield spec, part


def flatten_structure(value: Any) -> Iterator[FlatSpec]:
    """Yield the flattened parts of a structure, in TensorFlow's order."""
    kind = value.WhichOneof("kind")

    if kind in ("tensor_spec_value", "bounded_tensor_spec_value"):
        spec = getattr(value, kind)
        yield FlatSpec("", 1, shape_of(tf.TensorShape(spec.shape)), spec)
    elif kind == "type_spec_value":
        yield _flatten_spec(value.type_spec_value)
    else:
        for each in members(value, kind):
            yield from flatten_structure(each)


def members(value: Any, kind: str | None) -> Sequence[Any]:
    """Return the members of a structure of that kind, in TensorFlow's order."""
    if kind in ("tuple_value", "list_value"):
        return list(getattr(value, kind).values)

    if kind == "named_tuple_value":
        return [pair.value for pair in value.named_tuple_value.values]

    fields: Mapping[str, Any] = value.dict_value.fields if kind == "dict_value" else {}
    return [fields[name] for name in sorted(fields)]


def _flatten_spec(spec: Any) -> FlatSpec:
    shape = spec_shape(spec)

    if spec.type_spec_class == TypeSpecProto.SPARSE_TENSOR_SPEC:
        return FlatSpec("sparse", 3, shape, spec)

    # Older TensorFlow writes only the ragged rank, not the number of tensors.
    state = spec.type_state.tuple_value.values
    rank = state[2].int64_value if len(state) > 2 else 0
    count = max(0, spec.num_flat_components or rank + 1)
    ragged = spec.type_spec_class == TypeSpecProto.RAGGED_TENSOR_SPEC and count > 1
    return FlatSpec("ragged" if ragged else "", count, shape, spec)
