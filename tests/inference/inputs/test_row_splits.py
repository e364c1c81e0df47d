"""Row splits that don't fit their values are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference import Array, Ragged, put_together
from inference.errors import InputMismatch
from inference.types import Part, Signature, TensorSpec


def plain(row: Array | Ragged) -> Any:
    assert isinstance(row, np.ndarray)
    return row.tolist()


def ragged_signature() -> Signature:
    parts = {
        f"r/{role}": TensorSpec(
            name=f"r/{role}",
            tensor="t:0",
            dtype="int64",
            shape=(None,),
            part=Part(of="r", kind="ragged", role=role),
        )
        for role in ("values", "row_splits", "row_splits_1")
    }
    return Signature(name="s", inputs={}, outputs=parts)


@pytest.mark.parametrize(
    "splits",
    [
        ([0, 1], [0, 3]),
        ([1, 1], [0, 2]),
        ([0, 3], [0, 2, 1, 2]),
        ([0, -1], [0, 2]),
        ([0, 1], []),
        ([], [0, 2]),
        ([0, 1], 2),
    ],
)
def test_mismatched_row_splits_are_refused(splits: tuple[Any, Any]) -> None:
    parts = [[7, 8], *splits]
    outputs = {
        name: np.array(part, "int64")
        for name, part in zip(ragged_signature().outputs, parts, strict=True)
    }

    with pytest.raises(InputMismatch, match="'r' came out with row splits that"):
        put_together(ragged_signature(), outputs)


def test_row_splits_that_fit_cut_rows_of_rows() -> None:
    parts = ([7, 8, 9], [0, 2, 2], [0, 1, 3])
    names = ragged_signature().outputs
    outputs = {
        name: np.array(part, "int64") for name, part in zip(names, parts, strict=True)
    }

    ragged = put_together(ragged_signature(), outputs)["r"]

    assert isinstance(ragged, Ragged)
    assert (len(ragged), ragged.ndim) == (2, 3)
    first, second = ragged.row(0), ragged.rows(1, 2)
    assert isinstance(first, Ragged)
    assert [plain(first.row(index)) for index in range(2)] == [[7], [8, 9]]
    assert len(second) == 1
    assert len(second.row(0)) == 0
