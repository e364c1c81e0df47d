"""Lines that become an array."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.jobs.array import ArrayWriter, failure
from service.jobs.rows import BadRows, error_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

FAILED = {"error": "no"}


def made(values: list[Any], size: int = 1000, rows: int | None = None) -> NDArray[Any]:
    """The array of some lines, given in pieces of `size` bytes."""
    text = b"".join(json.dumps(value).encode() + b"\n" for value in values)
    writer = ArrayWriter(len(values) if rows is None else rows)
    content = b"".join(
        writer.feed(text[start : start + size]) for start in range(0, len(text), size)
    )
    found: NDArray[Any] = np.load(io.BytesIO(content + writer.end()))
    return found


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        pytest.param([0.1, 2.0], np.array([0.1, 2.0]), id="numbers"),
        pytest.param([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]]), id="whole numbers"),
        pytest.param([[True], [False]], np.array([[True], [False]]), id="truths"),
        pytest.param([float("nan"), 1.0], np.array([np.nan, 1.0]), id="no number"),
        pytest.param(
            [FAILED, [1.0, 2.0], FAILED],
            np.array([[np.nan, np.nan], [1.0, 2.0], [np.nan, np.nan]]),
            id="rows that failed",
        ),
    ],
)
def test_arrays(values: list[Any], wanted: NDArray[Any], size: int) -> None:
    found = made(values, size)

    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param(["a"], "no numbers", id="strings"),
        pytest.param([{"y": 1, "z": 2}], "no numbers", id="several outputs"),
        pytest.param([[1.0], [1.0, 2.0]], "row 2 is of another shape", id="shapes"),
        pytest.param([1.0, "a"], "row 2 is of another", id="kinds"),
        pytest.param([[[1.0], [1.0, 2.0]]], "differ in length", id="ragged"),
        pytest.param([1, FAILED], "whole numbers has no place", id="no NaN"),
        pytest.param([FAILED], "0 of 1 rows", id="all failed"),
    ],
)
def test_lines_that_make_no_array(values: list[Any], words: str) -> None:
    with pytest.raises(BadRows, match=words):
        made(values)


def test_missing_rows_are_told() -> None:
    with pytest.raises(BadRows, match="1 of 2 rows"):
        made([1.0], rows=2)


def test_only_a_line_of_an_error_alone_is_a_failure() -> None:
    assert failure(json.loads(error_line("no"))) == "no"
    assert failure({"error": 1.0, "y": 2.0}) is None
    assert failure([1.0]) is None
