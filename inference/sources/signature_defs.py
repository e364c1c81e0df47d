"""The signatures that a SavedModel declares: those that can be served, and the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.backend import tf
from inference.sources.costs import check_tensors
from inference.sources.optional_inputs import checked_default
from inference.sources.tensors import UNSERVABLE, dtype_name, known_dtype, shape_of
from inference.types import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inference.types import Array

_OWN = "__saved_model"
"""How the names begin that TensorFlow gives what it runs itself."""


@dataclass(slots=True, kw_only=True)
class SignatureDefs:
    """`left_out` has the reason of each signature that can't be served."""

    signatures: dict[str, Signature] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class _Unservable(Exception):
    """A tensor that no request can hold; the text says why."""


def read_signatures(meta_graph: Any, *, file: str) -> SignatureDefs:
    """What `meta_graph` declares. An output that can't be had leaves the others.

    Raises `InvalidModel` for a default that only fills the memory.
    """
    found = SignatureDefs()

    for name, definition in sorted(meta_graph.signature_def.items()):
        if name.startswith(_OWN):
            continue

        where = f"{file}: a default of the signature '{name}'"
        check_tensors(definition.defaults.values(), where=where)

        try:
            found.signatures[name] = _signature(name, definition, found.notes)
        except _Unservable as exc:
            found.left_out[name] = str(exc)
            found.notes.append(f"Signature '{name}' is left out: {exc}.")

    return found


def _signature(name: str, definition: Any, notes: list[str]) -> Signature:
    if not definition.outputs:
        raise _Unservable("it has no outputs")

    inputs = [
        _spec(alias, info, definition.defaults.get(alias))
        for alias, info in sorted(definition.inputs.items())
    ]
    outputs, reasons = _available(definition.outputs)

    if not outputs:
        raise _Unservable(" and ".join(reasons))

    notes += [
        f"Signature '{name}' is served without one of its outputs: {reason}."
        for reason in reasons
    ]
    return Signature(name=name, inputs=_by_name(inputs), outputs=_by_name(outputs))


def _available(infos: Mapping[str, Any]) -> tuple[list[TensorSpec], list[str]]:
    """The outputs that can be had, and for each other why it can't."""
    outputs, reasons = [], []

    for alias, info in sorted(infos.items()):
        try:
            outputs.append(_spec(alias, info))
        except _Unservable as exc:
            reasons.append(str(exc))

    return outputs, reasons


def _spec(alias: str, info: Any, default: Any = None) -> TensorSpec:
    encoding = info.WhichOneof("encoding")

    if encoding != "name":
        raise _Unservable(f"'{alias}' is encoded as {encoding}, not as one tensor")

    return TensorSpec(
        name=alias,
        tensor=info.name,
        dtype=_dtype(alias, info),
        shape=shape_of(tf.TensorShape(info.tensor_shape)),
        default=None if default is None else _default(alias, default),
    )


def _dtype(alias: str, info: Any) -> str:
    dtype = known_dtype(info.dtype)

    if dtype is None:
        raise _Unservable(f"'{alias}' is of a dtype that TensorFlow doesn't have")

    name = dtype_name(dtype)

    if name in UNSERVABLE:
        raise _Unservable(f"'{alias}' is a {name}, which isn't a value")

    return name


def _default(alias: str, proto: Any) -> Array:
    return checked_default(alias, tf.make_ndarray(proto))


def _by_name(specs: Iterable[TensorSpec]) -> dict[str, TensorSpec]:
    return {spec.name: spec for spec in specs}
