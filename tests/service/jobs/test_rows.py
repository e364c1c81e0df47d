"""Rows of large work, cut from pieces of any length."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.jobs.rows import (
    NDJSON,
    NPY,
    BadRows,
    chunk_length,
    error_line,
    predict_body,
    result_lines,
    row_reader,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

ROW_BYTES = 1000


def saved(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def pieces(body: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def instances(kind: str, body: bytes, size: int) -> list[Any]:
    """The rows of a body that is read in pieces of `size` bytes."""
    reader = row_reader(kind, ROW_BYTES)
    rows: list[bytes] = []

    for piece in pieces(body, size):
        rows += reader.feed(piece)

    rows += reader.end()
    reader.check(rows, 1)
    found: list[Any] = json.loads(reader.instances(rows))
    return found


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    ("body", "rows"),
    [
        pytest.param(b"1\n2\n", [1, 2], id="each line ends"),
        pytest.param(b"1\n2", [1, 2], id="the last line has no end"),
        pytest.param(b"\n1\r\n \n\n[2, 3]\n\n", [1, [2, 3]], id="empty lines"),
        pytest.param(b'{"x": "\xc3\xa4"}\n', [{"x": "ä"}], id="an object"),
        pytest.param(b"\n", [], id="nothing"),
    ],
)
def test_lines(body: bytes, rows: list[Any], size: int) -> None:
    assert instances(NDJSON, body, size) == rows


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.arange(6, dtype=np.float32).reshape(3, 2) / 3, id="float32"),
        pytest.param(np.arange(3, dtype=np.float64) / 3, id="one number a row"),
        pytest.param(np.arange(3, dtype=np.float16) / 3, id="float16"),
        pytest.param(np.arange(12, dtype=">i4").reshape(3, 2, 2), id="big-endian"),
        pytest.param(np.array([[True], [False]]), id="bool"),
        pytest.param(np.array([[1], [255]], dtype=np.uint8), id="uint8"),
    ],
)
def test_arrays(array: NDArray[Any], size: int) -> None:
    found = np.array(instances(NPY, saved(array), size), dtype=array.dtype)

    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        pytest.param(NDJSON, b"1\n{\n3\n", "row 2 isn't JSON", id="no JSON"),
        pytest.param(NDJSON, b'1],"x":[2\n', "row 1 isn't JSON", id="two in one"),
        pytest.param(NDJSON, b"1" * 1001, "--max-body-bytes", id="a long line"),
        pytest.param(NPY, b"", "cut short", id="no array"),
        pytest.param(NPY, b"hello, it is text", "isn't an .npy", id="text"),
        pytest.param(NPY, saved(np.ones((2, 2)))[:-1], "has 2 rows", id="cut short"),
        pytest.param(NPY, saved(np.ones((2, 2))) + b"x", "has 2 rows", id="too long"),
        pytest.param(NPY, saved(np.ones((2, 2)))[:20], "cut short", id="half a head"),
        pytest.param(NPY, saved(np.array(1.0)), "no rows", id="a number"),
        pytest.param(NPY, saved(np.ones((0, 2))), "no rows", id="no rows"),
        pytest.param(NPY, saved(np.ones((2, 200))), "--max-body", id="a long row"),
        pytest.param(NPY, saved(np.array(["a"])), "<U1", id="strings"),
        pytest.param(NPY, saved(np.array([None])), "object", id="objects"),
        pytest.param(NPY, saved(np.ones((2, 3)).T), "by columns", id="columns first"),
        pytest.param(
            NPY, b"\x93NUMPY\x02\x00\xff\xff\xff\x7f", "isn't an .npy", id="a long head"
        ),
    ],
)
@pytest.mark.parametrize("size", [5, 10_000])
def test_bodies_that_are_refused(kind: str, body: bytes, words: str, size: int) -> None:
    with pytest.raises(BadRows, match=words):
        instances(kind, body, size)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        pytest.param([b"1"] * 3, 3, id="fewer than the most"),
        pytest.param([b"1"] * 9, 4, id="the most rows"),
        pytest.param([b"12345"] * 4, 2, id="the most bytes"),
        pytest.param([b"1" * 99, b"1"], 1, id="a row above the most bytes"),
    ],
)
def test_chunks_are_bounded_by_rows_and_bytes(rows: list[bytes], count: int) -> None:
    assert chunk_length(rows, 4, 10) == count


def test_a_predict_body_names_the_signature_if_it_is_known() -> None:
    reader = row_reader(NDJSON, ROW_BYTES)

    assert json.loads(predict_body(reader, [b"1", b"[2]"], "main")) == {
        "signature_name": "main",
        "instances": [1, [2]],
    }
    assert json.loads(predict_body(reader, [b"1"], None)) == {"instances": [1]}


@pytest.mark.parametrize(
    ("answer", "lines"),
    [
        (b'{"predictions": [0.1, [2.0]]}', b"0.1\n[2.0]\n"),
        (b'{"predictions": [{"y": 1}, null]}', b'{"y":1}\nnull\n'),
        (b'{"predictions": [NaN, -Infinity]}', b"NaN\n-Infinity\n"),
    ],
)
def test_predictions_become_lines(answer: bytes, lines: bytes) -> None:
    assert result_lines(answer, 2) == lines


@pytest.mark.parametrize("answer", [b'{"predictions": [1]}', b'{"outputs": [1, 2]}'])
def test_an_answer_without_a_line_for_each_row_is_refused(answer: bytes) -> None:
    with pytest.raises(BadRows, match="row by row"):
        result_lines(answer, 2)


def test_a_failed_row_is_a_line_with_its_error() -> None:
    assert error_line("no") == b'{"error":"no"}\n'
