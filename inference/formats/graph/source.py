"""A model file being read: a graph, the values it needs, and a way to run it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array, Signature


class Reference(Protocol):
    """The source framework's own answer: outputs by name for inputs by name.

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
    """What every format is read into; from here on nobody knows what the file was.

    `graph_def` is pruned to what the signatures need. Its variables are `VarHandleOp`
    nodes, valued by `variables` (by node name); its tables are valued by `tables`.
    `texts` are sets of strings that it is likely to take, to be tried on it.
    `left_out` are the signatures that the file has and that can't be served, with the
    reason; the default one may be among them.
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

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Take the signatures that `reasons` name out, and note why."""
        for name, reason in reasons.items():
            self.signatures = {
                other: each for other, each in self.signatures.items() if other != name
            }
            self.left_out[name] = reason
            self.notes.append(f"Signature '{name}' is left out: {reason.rstrip('.')}.")

    def tensors(self) -> list[str]:
        """All inputs and outputs, as the graph calls them, without repeats."""
        return tensors_of(self.signatures)


def tensors_of(signatures: Mapping[str, Signature]) -> list[str]:
    """All inputs and outputs, as the graph calls them, without repeats."""
    named: dict[str, None] = {}

    for signature in signatures.values():
        for spec in (*signature.inputs.values(), *signature.outputs.values()):
            named[spec.tensor] = None

    return list(named)
