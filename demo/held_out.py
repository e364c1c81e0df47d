"""Rows to learn from, and rows held out to see what was learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from inference import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """`rows` float32 [n, ...] and the right class of each, `labels` int64 [n]."""

    rows: Array
    labels: Array


def split(rows: Array, labels: Array, *, held_out: int) -> tuple[Labelled, Labelled]:
    """Rows to learn from and `held_out` others, each class in the same share."""
    train, test, train_labels, test_labels = train_test_split(
        rows.astype(np.float32),
        labels.astype(np.int64),
        test_size=held_out,
        stratify=labels,
        random_state=0,
    )
    return (
        Labelled(rows=train, labels=train_labels),
        Labelled(rows=test, labels=test_labels),
    )


def score(answers: Array, held_out: Labelled) -> str:
    """How many `answers`, classes int64 [n], are right: a line for a person."""
    right = int(np.count_nonzero(answers == held_out.labels))
    count = len(held_out.labels)
    return f"{right} of {count} held-out rows right ({right / count:.1%})"
