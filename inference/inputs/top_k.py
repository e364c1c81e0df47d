"""The best classes of each row, by an output's scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from inference.errors import InvalidRequest, InvalidSidecar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from inference.types import Array, Shape, Signature, TensorSpec

LARGE = 2**16
"""Scores of more numbers than this take milliseconds to sort."""

_FLOATS = ("float16", "float32", "float64", "bfloat16")


def check_top_k(signature: Signature, outputs: Sequence[str], k: int) -> None:
    """Raise `InvalidRequest` if `k` classes can't be told by these outputs."""
    if len(outputs) != 1:
        raise InvalidRequest(
            f"'top_k' is for one output, and this answer has {len(outputs)}: name the "
            f'one with scores, as {{"outputs": ["{outputs[0]}"]}}.'
        )

    spec = signature.outputs[outputs[0]]

    if spec.dtype not in _FLOATS or spec.part is not None or not _in_rows(spec.shape):
        raise InvalidRequest(
            f"'top_k' is for an output with a score for each class in every row; "
            f"'{spec.name}' isn't one."
        )

    count = spec.shape[-1] if spec.shape else None

    if k < 1 or (count is not None and k > count):
        raise _wrong_k(spec.name, k, count)


def check_classes(classes: Sequence[str], signatures: Iterable[Signature]) -> None:
    """Raise `InvalidSidecar` if no output has a score for each of `classes`."""
    specs = [each.outputs[name] for each in signatures for name in each.usual]

    if not classes or any(_fits(spec, len(classes)) for spec in specs):
        return

    found = ", ".join(
        f"{spec.name} has {spec.shape[-1]}"
        for spec in specs
        if _in_rows(spec.shape) and spec.shape
    )
    raise InvalidSidecar(
        f"'classes' names a file of {len(classes)} lines, and no output has as many "
        f"scores a row: {found or 'none has scores'}. Write a line for each class."
    )


def best_classes(
    spec: TensorSpec, scores: Array, k: int, classes: Sequence[str] = ()
) -> dict[str, Array]:
    """Return `classes` and `scores` of the `k` best along the last axis, best first.

    Of equal scores the class of the lower index is first; those that aren't numbers are
    last. The classes are indices where there aren't as many `classes` as scores. Raise
    `InvalidRequest`.
    """
    if scores.ndim < 2 or k > scores.shape[-1]:
        raise _wrong_k(spec.name, k, scores.shape[-1] if scores.ndim > 1 else None)

    # Narrow floats have no sort of their own; the sort puts what is no number last.
    wide = scores if scores.dtype.kind == "f" else scores.astype(np.float32)
    indices = np.argsort(-wide, axis=-1, kind="stable")[..., :k]
    best = np.take_along_axis(scores, indices, axis=-1)

    if spec.on_request or len(classes) != scores.shape[-1]:
        return {"classes": indices, "scores": best}

    names = np.array([name.encode() for name in classes], dtype=object)
    return {"classes": names[indices], "scores": best}


def _fits(spec: TensorSpec, count: int) -> bool:
    if spec.dtype not in _FLOATS or not _in_rows(spec.shape):
        return False

    return not spec.shape or spec.shape[-1] in (None, count)


def _in_rows(shape: Shape) -> bool:
    """Return whether a row may have several numbers."""
    return shape is None or len(shape) > 1


def _wrong_k(name: str, k: int, count: int | None) -> InvalidRequest:
    bounds = "1 or more"
    if count is not None:
        bounds = f"from 1 to {count}, the number of scores of '{name}' a row"

    return InvalidRequest(f"'top_k' must be {bounds}, got {k}.")
