"""The 1,797 handwritten digits of scikit-learn, and one of them as a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.datasets import load_digits

from demo.held_out import split

if TYPE_CHECKING:
    from demo.held_out import Labelled
    from inference import Array

HELD_OUT = 360
CHOSEN = 3
"""The index, in the held-out digits, of the one in `digit.json`."""


def split_digits() -> tuple[Labelled, Labelled]:
    """Return training and held-out digits: [n, 8, 8], 0 (paper) to 16 (ink)."""
    digits = load_digits()
    return split(digits.images, digits.target, held_out=HELD_OUT)


def request_body() -> str:
    """Return the chosen digit as a body for `:predict`, a line for a row of pixels."""
    _, held_out = split_digits()
    rows = ",\n".join(f"    [{_pixels(row)}]" for row in held_out.rows[CHOSEN])
    return f'{{"instances": [\n  [\n{rows}\n  ]\n]}}\n'


def _pixels(row: Array) -> str:
    return ", ".join(f"{value:2.0f}" for value in row)
