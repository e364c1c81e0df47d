"""The signatures that a SavedModel declares, servable or not."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tensorflow.core.protobuf.struct_pb2 import TypeSpecProto

from inference.backend import tf
from inference.formats.graph.optional_inputs import checked_default
from inference.formats.graph.tensors import (
    UNSERVABLE,
    dtype_name,
    known_dtype,
    shape_of,
)
from inference.formats.saved_model.input_parts import (
    SPARSE_ROLES,
    InputParts,
    ragged_roles,
    spec_shape,
)
from inference.formats.screening.memory_bounds import check_tensors
from inference.inputs.nested_lists import MAX_RANK
from inference.types import Part, Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inference.types import Array, Shape

METHODS = "tensorflow/serving/"
"""Prefix of the method that a signature is declared for."""

OWN = "__saved_model"
"""Prefix of the names of TensorFlow's own signatures and functions."""


@dataclass(slots=True, kw_only=True)
class SignatureDefs:
    """The servable signatures; `left_out` has the reason of each other one."""

    signatures: dict[str, Signature] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _Unservable(Exception):
    """A tensor that no request can hold; the text says why."""


def read_signatures(meta_graph: Any, *, file: str) -> SignatureDefs:
    """Return the signatures of `meta_graph`, without outputs that can't be served.

    Raise `InvalidModel` for a default that only fills memory.
    """
    found = SignatureDefs()
    parts = InputParts(meta_graph)

    for name, definition in sorted(meta_graph.signature_def.items()):
        if name.startswith(OWN):
            continue

        where = f"{file}: a default of the signature '{name}'"
        check_tensors(definition.defaults.values(), where=where)

        try:
            signature = _signature(name, definition, found.notes)
            found.signatures[name] = parts.label(signature)
        except _Unservable as exc:
            found.left_out[name] = str(exc)
            found.notes.append(f"Signature '{name}' is left out: {exc}.")

    return found


def _signature(name: str, definition: Any, notes: list[str]) -> Signature:
    if not definition.outputs:
        raise _Unservable("it has no outputs")

    inputs = [
        spec
        for alias, info in sorted(definition.inputs.items())
        for spec in _specs(alias, info, definition.defaults.get(alias))
    ]
    outputs, reasons = _available(definition.outputs)

    if not outputs:
        raise _Unservable(" and ".join(reasons))

    notes += [
        f"Signature '{name}' is served without one of its outputs: {reason}."
        for reason in reasons
    ]
    method = definition.method_name.removeprefix(METHODS)
    return Signature(
        name=name,
        inputs=_by_name(inputs),
        outputs=_by_name(outputs),
        method=method if method in ("classify", "regress") else "predict",
    )


def _available(infos: Mapping[str, Any]) -> tuple[list[TensorSpec], list[str]]:
    """Return the servable outputs, and for each other the reason."""
    outputs, reasons = [], []

    for alias, info in sorted(infos.items()):
        try:
            outputs += _specs(alias, info)
        except _Unservable as exc:
            reasons.append(str(exc))

    return outputs, reasons


def _specs(alias: str, info: Any, default: Any = None) -> list[TensorSpec]:
    """Return the tensor `alias`, or the parts that it is made of."""
    encoding = info.WhichOneof("encoding")

    if encoding == "name":
        value = None if default is None else _default(alias, default)
        return [replace(_spec(alias, info), default=value)]

    if encoding == "coo_sparse":
        return _sparse(alias, info)

    kind = info.composite_tensor.type_spec.type_spec_class

    if encoding == "composite_tensor" and kind == TypeSpecProto.RAGGED_TENSOR_SPEC:
        return _ragged(alias, info.composite_tensor)

    raise _Unservable(f"'{alias}' is encoded as {_encoding(info)}, which isn't served")


def _encoding(info: Any) -> str:
    """Return the encoding of `info`, by TensorFlow's name."""
    encoding = str(info.WhichOneof("encoding"))

    if encoding != "composite_tensor":
        return encoding

    spec = info.composite_tensor.type_spec
    known = spec.type_spec_class in TypeSpecProto.TypeSpecClass.values()
    kind = TypeSpecProto.TypeSpecClass.Name(spec.type_spec_class) if known else ""
    return f"{encoding} ({spec.type_spec_class_name or kind or 'of no kind'})"


def _sparse(alias: str, info: Any) -> list[TensorSpec]:
    """Return the parts of a sparse tensor, in TensorFlow's form."""
    whole = shape_of(tf.TensorShape(info.tensor_shape))
    rank = None if whole is None else len(whole)
    names = info.coo_sparse
    tensors: tuple[tuple[str, str, Shape], ...] = (
        (names.indices_tensor_name, "int64", (None, rank)),
        (names.values_tensor_name, _dtype(alias, info), (None,)),
        (names.dense_shape_tensor_name, "int64", (rank,)),
    )
    return [
        TensorSpec(
            name=f"{alias}/{role}",
            tensor=tensor,
            dtype=dtype,
            shape=shape,
            part=Part(of=alias, kind="sparse", role=role, shape=whole),
        )
        for role, (tensor, dtype, shape) in zip(SPARSE_ROLES, tensors, strict=True)
    ]


def _ragged(alias: str, composite: Any) -> list[TensorSpec]:
    """Return the values and the row splits, the outermost first."""
    components, whole = composite.components, spec_shape(composite.type_spec)

    if not 1 < len(components) <= MAX_RANK:
        raise _Unservable(f"'{alias}' is ragged in {len(components) - 1} dimensions")

    return [
        replace(
            _spec(f"{alias}/{role}", component),
            part=Part(of=alias, kind="ragged", role=role, shape=whole),
        )
        for role, component in zip(
            ragged_roles(len(components)), components, strict=True
        )
    ]


def _spec(name: str, info: Any) -> TensorSpec:
    if info.WhichOneof("encoding") != "name":
        raise _Unservable(f"'{name}' is encoded as {_encoding(info)}, not as a tensor")

    return TensorSpec(
        name=name,
        tensor=info.name,
        dtype=_dtype(name, info),
        shape=shape_of(tf.TensorShape(info.tensor_shape)),
    )


def _dtype(name: str, info: Any) -> str:
    dtype = known_dtype(info.dtype)

    if dtype is None:
        raise _Unservable(f"'{name}' is of a dtype that TensorFlow doesn't have")

    known = dtype_name(dtype)

    if known in UNSERVABLE:
        raise _Unservable(f"'{name}' is a {known}, which isn't a value")

    return known


def _default(alias: str, proto: Any) -> Array:
    return checked_default(alias, tf.make_ndarray(proto))


def _by_name(specs: Iterable[TensorSpec]) -> dict[str, TensorSpec]:
    named: dict[str, TensorSpec] = {}

    for spec in specs:
        if spec.name in named:
            raise _Unservable(f"two of its tensors are called '{spec.name}'")

        named[spec.name] = spec

    return named
