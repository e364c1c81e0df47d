"""Training and held-out rows, and the score of a model on the latter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import train_test_split

if TYPE_CHECKING:
    from inference import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """`rows`, float32 [n, ...], and their classes, `labels`, int64 [n]."""

    rows: Array
    labels: Array


def split(rows: Array, labels: Array, *, held_out: int) -> tuple[Labelled, Labelled]:
    """Return training rows and `held_out` others, stratified by class."""
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
    """Return a line with the accuracy of `answers`, classes int64 [n]."""
    right = int(np.count_nonzero(answers == held_out.labels))
    count = len(held_out.labels)
    return f"{right} of {count} held-out rows right ({right / count:.1%})"
