from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest

from inference import InvalidRequest
from service.codecs.json import arrays

NAN, INF = float("nan"), float("inf")


def text_of(name: str, array: Any) -> bytes:
    """Encode at once; pieces of any size must give the same."""
    text = arrays.text(name, array)
    assert b"".join(arrays.pieces(name, array)) == text
    for size in (1, 2, 3, 130):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrays, "PIECE_COST", size)
            assert b"".join(arrays.pieces(name, array)) == text

    return text


@pytest.mark.parametrize(
    ("array", "text"),
    [
        pytest.param(np.array([0.1, 3], "f4"), b"[0.1,3.0]", id="float32, few digits"),
        pytest.param(
            np.array([0.1, 1 / 3], "f8"), b"[0.1,0.3333333333333333]", id="f64"
        ),
        pytest.param(np.array([1.5, 2], "f2"), b"[1.5,2.0]", id="float16"),
        pytest.param(
            np.array([1.5, 3], ml_dtypes.bfloat16), b"[1.5,3.0]", id="bfloat16"
        ),
        pytest.param(np.array([-3], ml_dtypes.int4), b"[-3]", id="int4"),
        pytest.param(
            np.array([1.5], ml_dtypes.float8_e4m3fn), b"[1.5]", id="float8_e4m3fn"
        ),
        pytest.param(np.array([[1], [-2]], "i1"), b"[[1],[-2]]", id="int8"),
        pytest.param(
            np.array([2**64 - 1], "u8"), b"[18446744073709551615]", id="uint64"
        ),
        pytest.param(np.array([True, False]), b"[true,false]", id="bool"),
        pytest.param(np.array(2.5, np.float32), b"2.5", id="scalar"),
        pytest.param(
            np.array([NAN, INF, 3, -INF], "f4"),
            b"[NaN,Infinity,3.0,-Infinity]",
            id="tfs 70",
        ),
        pytest.param(
            np.array([[0.1, NAN], [INF, 0.2]], "f4"),
            b"[[0.1,NaN],[Infinity,0.2]]",
            id="not finite, nested",
        ),
        pytest.param(np.array(-INF), b"-Infinity", id="scalar, not finite"),
        pytest.param(np.array([INF], "f2"), b"[Infinity]", id="float16, not finite"),
        pytest.param(np.array([NAN], ml_dtypes.bfloat16), b"[NaN]", id="bfloat16 NaN"),
        pytest.param(np.zeros((0, 2), np.float32), b"[]", id="no rows"),
        pytest.param(np.zeros((2, 0), np.float32), b"[[],[]]", id="empty rows"),
        pytest.param(np.arange(4)[::2], b"[0,2]", id="not contiguous"),
        pytest.param(np.arange(4).reshape(2, 2).T, b"[[0,2],[1,3]]", id="transposed"),
        pytest.param(
            np.array([b"caf\xc3\xa9"], object), '["café"]'.encode(), id="text"
        ),
        pytest.param(np.array([[b"null"]], object), b'[["null"]]', id="text of null"),
        pytest.param(np.array(b"x", object), b'"x"', id="text, scalar"),
        pytest.param(np.array([b"\xff"], object), b'[{"b64":"/w=="}]', id="not text"),
        pytest.param(np.zeros((0,), object), b"[]", id="no text"),
    ],
)
def test_text(array: Any, text: bytes) -> None:
    assert text_of("y", array) == text


def test_outputs_called_bytes_are_base64() -> None:
    array = np.array([[b"hello", b"world"], [b"tf", b"serving"]], object)

    text = text_of("str_tensor_bytes", array)

    assert orjson.loads(text) == [
        [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}],
        [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}],
    ]


def test_numbers_round_trip() -> None:
    array = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    array[::7] = NAN

    text = text_of("y", array).replace(b"NaN", b"null")

    back = np.array(orjson.loads(text), np.float32)
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]"])
def test_dtypes_that_json_cannot_carry_are_refused(dtype: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(f"tensor type: {dtype}")):
        arrays.text("y", np.zeros(1, dtype))


@pytest.mark.parametrize("shape", [(100_000,), (7, 30_000), (30_000, 7), (2, 3, 9_999)])
def test_no_piece_is_long(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).normal(size=shape).astype(np.float32)

    pieces = list(arrays.pieces("y", array))

    assert max(map(len, pieces)) < 16 * arrays.PIECE_COST
    np.testing.assert_array_equal(np.array(orjson.loads(b"".join(pieces)), "f4"), array)
