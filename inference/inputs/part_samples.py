"""Generated inputs for the parts of ragged and sparse tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inference.inputs.composites import by_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array, Part, Signature

OPEN_SIZE = 16
"""The size of a sparse tensor's open dimensions, except the first."""


def fit_parts(signature: Signature, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Make the parts in `inputs` fit each other, with a row for each value."""
    fitted = dict(inputs)

    if not signature.takes_parts:
        return fitted

    for parts in by_whole(signature.inputs).values():
        part = parts[0].part

        if part is None or any(spec.name not in inputs for spec in parts):
            continue

        made = _MADE[part.kind](part, [inputs[spec.name] for spec in parts])
        fitted |= {
            spec.name: value.astype(inputs[spec.name].dtype)
            for spec, value in zip(parts, made, strict=True)
        }

    return fitted


def _ragged(part: Part, given: list[Array]) -> list[Array]:
    """Return values and row splits: rows of one member, then two, at each level."""
    values, sizes = given[0], part.shape or ()
    count = (sizes[0] if sizes else None) or len(values)
    splits: list[Array] = []

    for level in range(1, len(given)):
        size = sizes[level] if level < len(sizes) else None
        lengths = 1 + np.arange(count) % 2 if size is None else np.full(count, size)
        splits.append(np.concatenate([[0], np.cumsum(lengths)]))
        count = int(splits[-1][-1])

    return [np.resize(values, (count, *values.shape[1:])), *splits]


def _sparse(part: Part, given: list[Array]) -> list[Array]:
    """Return indices, values and shape: one value a row, in changing columns."""
    indices, values, _ = given
    count, rank = indices.shape
    sizes = part.shape or (None,) * rank
    shape = [
        size or (OPEN_SIZE if place else count) for place, size in enumerate(sizes)
    ]
    places = [np.arange(count) % size for size in shape]
    return [np.stack(places, axis=-1), values, np.array(shape)]


_MADE = {"ragged": _ragged, "sparse": _sparse}
