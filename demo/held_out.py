"""What a model says about rows that it wasn't trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from inference import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """`rows` float32 [n, ...] and the right class of each, `labels` int64 [n]."""

    rows: Array
    labels: Array


def score(answers: Array, held_out: Labelled) -> str:
    """How many `answers`, classes int64 [n], are right: a line for a person."""
    right = int(np.count_nonzero(answers == held_out.labels))
    count = len(held_out.labels)
    return f"{right} of {count} held-out rows right ({right / count:.1%})"
