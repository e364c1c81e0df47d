"""The classification extension: an output as the best classes of each row. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inference import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inference import Array

MAX_ELEMENTS = 1_000_000

PIECE_ELEMENTS = 1 << 16
"""Scores that are compared by one short call, of rows that aren't longer."""


def check_classes(name: str, array: Array) -> None:
    """Raise `InvalidRequest` for an output whose classes can't be told."""
    if (
        array.dtype.kind not in "iuf"
        or array.dtype.itemsize < 4
        and (array.dtype.kind == "f")
    ):
        raise InvalidRequest(
            f"class result not available for output '{name}' due to unsupported type "
            f"{array.dtype.name}: ask for it without 'classification'"
        )

    if array.size > MAX_ELEMENTS:
        raise InvalidRequest(
            f"classification output tensor too large: '{name}' has {array.size} "
            f"elements, and the limit is {MAX_ELEMENTS}"
        )


def classes_shape(array: Array, k: int) -> tuple[int, ...]:
    """Return the shape of the `k` best classes of each row, of all for a large `k`."""
    if array.ndim < 2:
        return (min(k, array.size),)

    rows = array.shape[0]
    return (rows, min(k, array.size // rows if rows else 0))


def best_classes(array: Array, k: int, labels: Sequence[str]) -> Iterator[list[bytes]]:
    """Yield strings `value:index:label`, best first, of some rows at a time.

    The label is left out where there are none for as many classes.
    """
    scores = array.reshape(array.shape[0] if array.ndim > 1 else 1, -1)
    count = scores.shape[1]
    named = labels if len(labels) == count else ()
    step = max(1, PIECE_ELEMENTS // max(1, count))
    for start in range(0, len(scores), step):
        rows = scores[start : start + step]
        best = _indices(rows, min(k, count))
        values = np.take_along_axis(rows, best, axis=-1)
        yield [
            _text(value, index, named)
            for value, index in zip(
                values.ravel().tolist(), best.ravel().tolist(), strict=True
            )
        ]


def _indices(rows: Array, k: int) -> Array:
    # Of equal scores the class of the lower index comes first.
    if rows.dtype.kind == "f":
        order = np.argsort(-rows, axis=-1, kind="stable")
    else:
        order = np.argsort(rows[:, ::-1], axis=-1, kind="stable")[:, ::-1]
        order = rows.shape[1] - 1 - order

    return order[:, :k]


def _text(value: float, index: int, labels: Sequence[str]) -> bytes:
    label = f":{labels[index]}" if labels else ""
    shown = f"{value:.6f}" if isinstance(value, float) else str(value)
    return f"{shown}:{index}{label}".encode()
