from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from inference.errors import InputMismatch
from inference.inputs.nested_lists import MAX_RANK, to_array
from tests.support.specs import spec

BF16 = np.dtype(ml_dtypes.bfloat16)
I64 = 2**63
U64 = 2**64


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        pytest.param("float32", 2, np.float32(2), id="a scalar"),
        pytest.param("float32", [1, 2.5], np.array([1, 2.5], "f4"), id="ints, floats"),
        pytest.param("float32", ((1,), (2,)), np.array([[1], [2]], "f4"), id="tuples"),
        pytest.param("float32", [1e300], np.array([np.inf], "f4"), id="float32 over"),
        pytest.param("float32", [2.2e-308], np.array([0], "f4"), id="float32 under"),
        pytest.param("float64", [2.2e-308], np.array([2.2e-308]), id="float64"),
        pytest.param("float16", [1.5, 1e6], np.array([1.5, np.inf], "f2"), id="half"),
        pytest.param("bfloat16", [1.5, 3], np.array([1.5, 3], BF16), id="bfloat16"),
        pytest.param(
            "bfloat16", [2**64], np.array([2.0**64], BF16), id="bfloat16, big"
        ),
        pytest.param("int8", [-128, 127], np.array([-128, 127], "i1"), id="int8"),
        pytest.param("uint8", [0, 255], np.array([0, 255], "u1"), id="uint8"),
        pytest.param("int64", [-I64, I64 - 1], np.array([-I64, I64 - 1]), id="int64"),
        pytest.param("int64", [2**53 + 1], np.array([2**53 + 1]), id="int64 exact"),
        pytest.param("uint64", [U64 - 1], np.array([U64 - 1], "u8"), id="uint64"),
        pytest.param("bool", [[True], [False]], np.array([[1], [0]], "?"), id="bool"),
        pytest.param(
            "string", ["é", b"\xff"], np.array([b"\xc3\xa9", b"\xff"], "O"), id="string"
        ),
        pytest.param("string", [["a\0"]], np.array([[b"a\0"]], "O"), id="NUL kept"),
        pytest.param("float32", [[], []], np.empty((2, 0), "f4"), id="no values"),
    ],
)
def test_values_become_arrays(
    dtype: str, value: Any, expected: np.ndarray[Any, Any]
) -> None:
    array = to_array(spec(dtype=dtype), value)

    assert array.dtype == expected.dtype
    assert array.shape == expected.shape
    assert array.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        pytest.param([], (None, 32), (0, 32), id="no rows"),
        pytest.param([], (None, None, 3), (0, 0, 3), id="an unknown dimension"),
        pytest.param([[]], (None, 32), (1, 0), id="a row of nothing stays"),
        pytest.param([], None, (0,), id="an unknown rank"),
    ],
)
def test_empty_lists_take_their_inner_dimensions_from_the_spec(
    value: Any, shape: tuple[int | None, ...] | None, expected: tuple[int, ...]
) -> None:
    assert to_array(spec(shape=shape), value).shape == expected


@pytest.mark.parametrize(
    ("dtype", "value", "message"),
    [
        pytest.param(
            "float32",
            [[1, 2], [3, 4], [5, 6, 7]],
            "input 'x' at [2] is ragged: Expecting tensor size: 2 but got: 3;",
            id="ragged",
        ),
        pytest.param(
            "float32",
            [[[1], [2]], [[3], []]],
            "at [1][1] is ragged: Expecting tensor size: 1 but got: 0",
            id="ragged deeper",
        ),
        pytest.param(
            "float32", [1, [1]], "at [1]: Expecting shape [] but got: [1]", id="mixed"
        ),
        pytest.param(
            "float32",
            [[[1], [2]], [[3], 4]],
            "at [1][1]: value found at incorrect level: 2",
            id="mixed, list first",
        ),
        pytest.param(
            "float32",
            [[0.0, 0.0, "abc"]],
            "input 'x' at [0][2] wants a number, got 'abc' (a string), which is not"
            " of expected type: float32",
            id="string for number",
        ),
        pytest.param("float32", None, "input 'x' wants a number, got None", id="null"),
        pytest.param("float32", [True], "got True (a boolean)", id="bool for float"),
        pytest.param("float32", {"a": 1}, "(an object)", id="object"),
        pytest.param("float32", b"raw", "(bytes)", id="bytes"),
        pytest.param(
            "int32", [[1, 2], ["a", "b"]], "not of expected type: int32", id="tfs 61"
        ),
        pytest.param("int32", [1.0], "at [0] wants an integer, got 1.0", id="float"),
        pytest.param("int32", [True], "(a boolean)", id="bool for int"),
        pytest.param("int64", [1e20], "wants an integer, got 1e+20", id="huge float"),
        pytest.param(
            "int8",
            [0, 300],
            "at [1] wants int8, got 300, which is not within -128 to 127",
            id="int8 range",
        ),
        pytest.param("uint16", [-1], "not within 0 to 65535", id="uint16 range"),
        pytest.param("int32", [2**31], "not within", id="int32 range"),
        pytest.param("int64", [2**63], "not within", id="int64 range"),
        pytest.param("uint64", [-1], "not within", id="uint64 range"),
        pytest.param("float32", [10**400], "which is too large", id="int past floats"),
        pytest.param("bool", [0], "wants true or false, got 0", id="int for bool"),
        pytest.param("string", [1], "wants a string, got 1", id="number for string"),
        pytest.param("string", [None], "got None (null)", id="null for string"),
        pytest.param("complex64", [1], "is of dtype complex64, which", id="complex"),
        pytest.param("qint8", [1], "is of dtype qint8, which can't", id="quantised"),
        pytest.param("resource", [1], "is of dtype resource", id="resource"),
    ],
)
def test_mismatches_are_refused(dtype: str, value: Any, message: str) -> None:
    with pytest.raises(InputMismatch, match=re.escape(message)):
        to_array(spec(dtype=dtype), value)


def test_deep_nesting_is_refused() -> None:
    value: Any = 1.0
    for _ in range(100_000):
        value = [value]

    with pytest.raises(InputMismatch, match=f"nested deeper than {MAX_RANK}"):
        to_array(spec(), value)


def test_messages_stay_short() -> None:
    with pytest.raises(InputMismatch) as caught:
        to_array(spec(), ["x" * 1_000_000])

    assert len(str(caught.value)) < 200
