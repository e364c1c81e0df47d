"""Signatures that the sidecar declares over a graph's own tensors."""

from __future__ import annotations

from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidSidecar
from inference.formats.graph.graphdef import node_of, tensor_of
from inference.formats.graph.tensors import dtype_name, shape_of
from inference.types import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from inference.repository.sidecar import Sidecar, SignatureConfig

_USUAL = "serving_default"


def declared_signatures(
    graph: Any, sidecar: Sidecar, known: Mapping[str, Signature]
) -> dict[str, Signature]:
    """Return the sidecar's signatures, dtypes and shapes read from `graph`.

    A side that one leaves out is taken from `known`, by its name or from the default
    one. Raise `InvalidSidecar` for a tensor that the graph doesn't have.
    """
    return {
        name: _signature(name, graph, config, known)
        for name, config in sidecar.signatures.items()
    }


def named_tensors(sidecar: Sidecar, nodes: Collection[str]) -> list[str]:
    """Return all tensors that the sidecar names. Raise `InvalidSidecar` if unknown.

    Call it before the graph is pruned to them, while all names are still there.
    """
    named = [
        wanted
        for config in sidecar.signatures.values()
        for side in (config.inputs, config.outputs)
        for wanted in (side or {}).values()
    ]

    for wanted in named:
        if node_of(wanted) not in nodes:
            raise _unknown(wanted, nodes)

    return named


def default_signature(
    signatures: Mapping[str, Signature],
    sidecar: Sidecar,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the sidecar's choice, else `serving_default`, else the first by name.

    A `serving_default` that is `left_out` stays the default: another in its place would
    answer requests meant for it.
    """
    wanted = sidecar.default_signature

    if wanted is None:
        usual = _USUAL in signatures or _USUAL in left_out
        return _USUAL if usual else min(signatures)

    if wanted in signatures:
        return wanted

    refused = f"which can't be served ({left_out.get(wanted)}); the model has"
    has = refused if wanted in left_out else "but the model has"
    raise InvalidSidecar(
        f"default_signature is '{wanted}', {has}: {', '.join(sorted(signatures))}."
    )


def tensor_spec(name: str, tensor: Any, default: Any = None) -> TensorSpec:
    """Return a `tf.Tensor` of a graph as the input or output `name`."""
    return TensorSpec(
        name=name,
        tensor=tensor.name,
        dtype=dtype_name(tensor.dtype),
        shape=shape_of(tensor.shape),
        default=default,
    )


def _signature(
    name: str, graph: Any, config: SignatureConfig, known: Mapping[str, Signature]
) -> Signature:
    own = known.get(name) or known.get("serving_default")

    if own is None and (config.inputs is None or config.outputs is None):
        raise InvalidSidecar(
            f"signature '{name}' must name both inputs and outputs: the model has no "
            "signature of that name to take them from."
        )

    base = own or Signature(name=name, inputs={}, outputs={})
    inputs = None if config.inputs is None else _specs(graph, config.inputs)
    outputs = None if config.outputs is None else _specs(graph, config.outputs)
    return Signature(
        name=name,
        inputs=base.inputs if inputs is None else inputs,
        outputs=base.outputs if outputs is None else outputs,
    )


def _specs(graph: Any, named: Mapping[str, str]) -> dict[str, TensorSpec]:
    return {
        name: tensor_spec(name, _tensor(graph, wanted))
        for name, wanted in named.items()
    }


def _tensor(graph: Any, wanted: str) -> Any:
    try:
        return graph.get_tensor_by_name(tensor_of(wanted))
    except (KeyError, ValueError):
        names = [operation.name for operation in graph.get_operations()]
        raise _unknown(wanted, names) from None


def _unknown(wanted: str, names: Iterable[str]) -> InvalidSidecar:
    return InvalidSidecar(
        f"it names the tensor '{wanted}', which the graph doesn't have"
        f"{_close(names, wanted)}."
    )


def _close(names: Iterable[str], wanted: str) -> str:
    close = get_close_matches(node_of(wanted), list(names), n=3)
    return f"; close to it: {', '.join(close)}" if close else ""
