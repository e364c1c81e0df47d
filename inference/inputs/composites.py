"""Ragged and sparse tensors, which a graph takes and returns as several plain ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import InputMismatch
from inference.types import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Shape, Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class Ragged:
    """Rows of different lengths: `values`, cut by each of `row_splits`.

    The outermost splits come first, and cut the rows of the next ones; the innermost
    cut `values`. Splits needn't begin at 0.
    """

    values: Array
    row_splits: tuple[Array, ...]

    @property
    def ndim(self) -> int:
        return len(self.row_splits) + self.values.ndim

    def __len__(self) -> int:
        return len(self.row_splits[0]) - 1

    def row(self, index: int) -> Array | Ragged:
        start, stop = self.row_splits[0][index : index + 2].tolist()
        inner = self.row_splits[1:]

        if not inner:
            return self.values[start:stop]

        return Ragged(self.values, (inner[0][start : stop + 1], *inner[1:]))

    def rows(self, start: int, stop: int) -> Ragged:
        outer, *inner = self.row_splits
        return Ragged(self.values, (outer[start : stop + 1], *inner))


@dataclass(frozen=True, slots=True)
class Sparse:
    """The `values` at `indices` of a tensor of `shape`."""

    indices: Array
    values: Array
    shape: Array


RULE = (
    "they must begin at 0, never fall, and end at the number of values, or of the rows"
    " that the next splits make"
)

Output = Array | Ragged | Sparse


def by_whole(specs: Mapping[str, TensorSpec]) -> dict[str, list[TensorSpec]]:
    """Group tensors: the parts of each composite one, any other alone."""
    wholes: dict[str, list[TensorSpec]] = {}

    for name, spec in specs.items():
        wholes.setdefault(spec.part.of if spec.part else name, []).append(spec)

    return wholes


def whole_shape(parts: list[TensorSpec]) -> Shape:
    """Return the shape of the tensor that `parts`, from `by_whole`, make up."""
    first = parts[0]
    return first.part.shape if first.part else first.shape


def put_together(
    signature: Signature, outputs: Mapping[str, Array]
) -> Mapping[str, Output]:
    """Return `outputs` with composite tensors in place of their parts.

    Raises `InputMismatch` for row splits that don't fit: most graphs pass on those of
    their inputs.
    """
    if not signature.gives_parts:
        return outputs

    wholes: dict[str, Output] = {}

    for name, parts in by_whole(signature.outputs).items():
        if parts[0].name in outputs:
            wholes[name] = _whole(name, parts, [outputs[spec.name] for spec in parts])

    return wholes


def check_row_splits(signature: Signature, inputs: Mapping[str, Array]) -> None:
    """Raise `InputMismatch` for row splits that don't fit a ragged input."""
    # TensorFlow takes them and returns wrong numbers, or none for some rows.
    for name, parts in by_whole(signature.inputs).items():
        part = parts[0].part
        sent = [inputs[spec.name] for spec in parts if spec.name in inputs]

        if part is None or part.kind != "ragged" or len(sent) != len(parts):
            continue

        splits = ", ".join(f"'{spec.name}'" for spec in parts[1:])
        if not _fits(Ragged(sent[0], tuple(sent[1:]))):
            raise InputMismatch(
                f"the row splits {splits} don't fit the ragged input '{name}': {RULE}"
            )


def _whole(name: str, parts: list[TensorSpec], values: list[Array]) -> Output:
    part = parts[0].part

    if part is None:
        return values[0]

    if part.kind == "sparse":
        return Sparse(*values)

    ragged = Ragged(values[0], tuple(values[1:]))

    # Overlapping rows would make a long answer of few values.
    if not _fits(ragged):
        raise InputMismatch(
            f"the ragged output '{name}' came out with row splits that don't fit its"
            f" values; where row splits are sent, {RULE}"
        )

    return ragged


def _fits(ragged: Ragged) -> bool:
    inner = [splits.size - 1 for splits in ragged.row_splits[1:]]
    count = len(ragged.values) if ragged.values.ndim else -1
    lengths = [*inner, count]
    return all(map(_cut_to, ragged.row_splits, lengths))


def _cut_to(splits: Array, length: int) -> bool:
    if splits.ndim != 1 or not splits.size:
        return False

    rising = bool(np.all(splits[1:] >= splits[:-1]))
    return rising and splits[0] == 0 and splits[-1] == length
