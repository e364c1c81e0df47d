"""A model file being read: a graph, the values it needs, and a way to run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array, Shape, Signature


class Reference(Protocol):
    """The source framework's own outputs, by name, for inputs by name.

    All inputs of the signature are given, optional ones included. Raises whatever the
    framework raises.
    """

    def __call__(
        self, signature: Signature, inputs: Mapping[str, Array]
    ) -> dict[str, Array]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The contents of a lookup table: `keys` and `values` of equal length.

    `node` is the graph's node that makes the table's handle.
    """

    node: str
    keys: Array
    values: Array


@dataclass(slots=True, kw_only=True)
class Source:
    """A model of any format, read; nothing below depends on the format any more.

    `graph_def` is pruned to what the signatures need. Its variables are `VarHandleOp`
    nodes with the values in `variables` (by node name); its tables have those in
    `tables`. `texts` are sets of strings that it is likely to accept, used as samples.
    `left_out` are the file's signatures that can't be served, with the reason; the
    default one may be among them. `layers` are the inner outputs that the sidecar may
    name, with their shapes.
    """

    format: str
    writer: str
    graph_def: Any
    signatures: dict[str, Signature]
    default_signature: str
    reference: Reference
    left_out: dict[str, str] = field(default_factory=dict)
    variables: dict[str, Array] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    texts: list[tuple[bytes, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    layers: dict[str, Shape] = field(default_factory=dict)

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Remove the signatures named in `reasons`, and note why."""
        for name, reason in reasons.items():
            self.signatures = {
                other: each for other, each in self.signatures.items() if other != name
            }
            self.left_out[name] = reason
            self.notes.append(f"Signature '{name}' is left out: {reason.rstrip('.')}.")

    def tensors(self) -> list[str]:
        """Return all inputs and outputs, as the graph names them, without repeats."""
        return tensors_of(self.signatures)


def tensors_of(signatures: Mapping[str, Signature]) -> list[str]:
    """Return all inputs and outputs, as the graph names them, without repeats."""
    named: dict[str, None] = {}

    for signature in signatures.values():
        for spec in (*signature.inputs.values(), *signature.outputs.values()):
            named[spec.tensor] = None

    return list(named)
