from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

from service.bulk.sinks import ArraySink, LineSink
from service.jobs.rows import BadRows

NAN = float("nan")


def loaded(file: io.BytesIO) -> Any:
    file.seek(0)
    return np.load(file)


def fed(sink: ArraySink, *answers: Any) -> None:
    """Give arrays of rows, or the text of a row that failed."""
    for answer in answers:
        if isinstance(answer, str):
            sink.fail(answer)
        else:
            array = np.asarray(answer)
            sink.write(sink.encoded({"y": array}, len(array)))


@pytest.mark.parametrize(
    ("answers", "array"),
    [
        pytest.param([[1.0, 2.0], [3.0]], [1, 2, 3], id="numbers"),
        pytest.param([[[1, 2]], [[3, 4]]], [[1, 2], [3, 4]], id="whole numbers"),
        pytest.param([[1.0], "no", [3.0]], [1, NAN, 3], id="a row failed"),
        pytest.param(["no", "no", [3.0]], [NAN, NAN, 3], id="the first rows failed"),
    ],
)
def test_an_array_has_a_row_for_each_row(answers: list[Any], array: list[Any]) -> None:
    file = io.BytesIO()
    sink = ArraySink(file)

    fed(sink, *answers)
    sink.end()

    np.testing.assert_array_equal(loaded(file), array)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", "<i4", "|u1", "|b1"])
def test_an_array_has_the_outputs_dtype(dtype: str) -> None:
    file = io.BytesIO()
    sink = ArraySink(file)

    fed(sink, np.ones((2, 3), dtype))
    sink.end()

    assert loaded(file).dtype.str == dtype
    assert loaded(file).shape == (2, 3)


@pytest.mark.parametrize(
    "before", [[[1.0], "no"], ["no"]], ids=["after a row", "after a failed row"]
)
def test_an_array_goes_on_where_it_was(before: list[Any]) -> None:
    file = io.BytesIO()
    first = ArraySink(file)
    fed(first, *before)

    second = ArraySink(file, first.early)
    fed(second, [5.0])
    second.end()

    expected = [value if isinstance(value, list) else [NAN] for value in before]
    np.testing.assert_array_equal(loaded(file), [*sum(expected, []), 5.0])


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        pytest.param([[1.0], [[2.0]]], "another shape", id="shape"),
        pytest.param([[1], "no"], "whole numbers", id="no place for a failure"),
        pytest.param(["no", [1]], "whole numbers", id="nor for an early one"),
        pytest.param([[b"a"]], "no array of plain numbers", id="texts"),
    ],
)
def test_answers_that_make_no_array_are_refused(answers: list[Any], words: str) -> None:
    with pytest.raises(BadRows, match=words):
        fed(ArraySink(io.BytesIO()), *answers)


def test_several_outputs_make_no_array() -> None:
    with pytest.raises(BadRows, match=r"several outputs \(a, b\)"):
        ArraySink(io.BytesIO()).encoded({"a": np.ones(1), "b": np.ones(1)}, 1)


def test_no_rows_make_no_array() -> None:
    sink = ArraySink(io.BytesIO())
    fed(sink, "no")

    with pytest.raises(BadRows, match="no row"):
        sink.end()


@pytest.mark.parametrize("sink", [LineSink(print), ArraySink(io.BytesIO())])
def test_an_answer_of_another_number_of_rows_is_refused(sink: Any) -> None:
    with pytest.raises(BadRows, match="row by row"):
        sink.encoded({"y": np.ones(3)}, 2)


def test_lines_have_names_where_there_are_several_outputs() -> None:
    written: list[bytes] = []
    sink = LineSink(written.append)

    sink.write(sink.encoded({"a": np.array([1.5, NAN]), "b": np.array([1, 2])}, 2))
    sink.fail("no")

    assert b"".join(written).splitlines() == [
        b'{"a":1.5,"b":1}',
        b'{"a": NaN, "b": 2}',
        b'{"error":"no"}',
    ]
