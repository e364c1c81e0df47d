from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import orjson
import pytest

from inference import InvalidRequest
from service.codecs import json_tensors

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{"a": [1, 2.5, true]}', {"a": [1, 2.5, True]}, id="object"),
        pytest.param(b"\xef\xbb\xbf[1]", [1], id="byte order mark"),
        pytest.param(b"[18446744073709551615]", [2**64 - 1], id="uint64"),
    ],
)
def test_parse(body: bytes, expected: Any) -> None:
    assert json_tensors.parse(body) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "JSON Parse error: The document is empty", id="empty"),
        pytest.param(b" \n", "JSON Parse error: The document is empty", id="blank"),
        pytest.param(
            b"instances = [1, 2]",
            "JSON Parse error: Invalid value. at offset: 0",
            id="tfs 23",
        ),
        pytest.param(b'{"a":1} x', "unexpected content after", id="trailing text"),
        pytest.param(b'{"a":NaN}', "NaN and Infinity are not JSON", id="NaN"),
        pytest.param(b'{"a":-Infinity}', "NaN and Infinity are not", id="-Infinity"),
        pytest.param(b'{"a":1,}', "trailing comma", id="trailing comma"),
        pytest.param(b'{"a":1e400}', "infinity", id="too large a number"),
        pytest.param(b'{"a":"\xff"}', "not valid UTF-8", id="not UTF-8"),
        pytest.param(b"[" * 500_000, "depth limit", id="deep nesting"),
    ],
)
def test_parse_refuses(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        json_tensors.parse(body)


def test_duplicates_are_refused_only_where_keys_are_equal() -> None:
    json_tensors.refuse_duplicates(b'{"a": 1, "b": "a"}', {"a": 1})
    with pytest.raises(InvalidRequest, match='key "a" is there twice'):
        json_tensors.refuse_duplicates(b'{"a": 1, "a": 2}', {"a": 1})


def test_duplicates_in_deep_nesting() -> None:
    body = b'{"a": 1, "a": %b1%b}' % (b"[" * 100_000, b"]" * 100_000)

    with pytest.raises(InvalidRequest, match="nested too deep"):
        json_tensors.refuse_duplicates(body, {"a": 1})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"b64": "aGVsbG8="}, b"hello", id="alone"),
        pytest.param({"b64": "aGVsbG8"}, b"hello", id="without padding"),
        pytest.param({"b64": ""}, b"", id="empty"),
        pytest.param([[{"b64": "/+8="}], ["a"]], [[b"\xff\xef"], ["a"]], id="nested"),
        pytest.param({"x": [{"b64": "aGk="}]}, {"x": [b"hi"]}, id="in an object"),
        pytest.param({"b64": 1}, {"b64": 1}, id="an input called b64"),
        pytest.param({"b64": "aGk=", "x": 1}, {"b64": "aGk=", "x": 1}, id="two keys"),
        pytest.param([1, "b64", None], [1, "b64", None], id="nothing to do"),
    ],
)
def test_decode_base64(value: Any, expected: Any) -> None:
    assert json_tensors.decode_base64(value) == expected


@pytest.mark.parametrize("text", ["a", "_-8=", "aGk=\n", "aGk=é", "a=b="])
def test_decode_base64_refuses(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Unable to base64 decode"):
        json_tensors.decode_base64([{"b64": text}])


def test_decode_base64_in_deep_nesting() -> None:
    value: Any = {"b64": "aGk="}
    for _ in range(100_000):
        value = [value]

    with pytest.raises(InvalidRequest, match="nested too deep"):
        json_tensors.decode_base64(value)


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
def test_fragment(array: Any, text: bytes) -> None:
    assert orjson.dumps(json_tensors.fragment("y", array)) == text


def test_outputs_called_bytes_are_base64() -> None:
    array = np.array([[b"hello", b"world"], [b"tf", b"serving"]], object)

    text = orjson.dumps(json_tensors.fragment("str_tensor_bytes", array))

    assert orjson.loads(text) == [
        [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}],
        [{"b64": "dGY="}, {"b64": "c2VydmluZw=="}],
    ]


def test_numbers_come_back_equal() -> None:
    array = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    array[::7] = NAN

    text = orjson.dumps(json_tensors.fragment("y", array)).replace(b"NaN", b"null")

    back = np.array(orjson.loads(text), np.float32)
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]"])
def test_what_json_cannot_carry(dtype: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(f"tensor type: {dtype}")):
        json_tensors.fragment("y", np.zeros(1, dtype))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"a": None}, '{"a":null}', id="JSON"),
        pytest.param("x" * 1000, '"' + "x" * 99 + "...", id="long"),
        pytest.param(b"raw", "\"b'raw'\"", id="bytes"),
    ],
)
def test_show(value: Any, text: str) -> None:
    assert json_tensors.show(value) == text


def test_show_of_deep_nesting() -> None:
    value: Any = 1
    for _ in range(900):
        value = [value]

    assert len(json_tensors.show(value)) < 100
