from __future__ import annotations

import math
import re
from typing import Any

import pytest

from inference import InvalidRequest
from service.codecs.json.values import decode_base64, parse, refuse_duplicates, show


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{"a": [1, 2.5, true]}', {"a": [1, 2.5, True]}, id="object"),
        pytest.param(b"\xef\xbb\xbf[1]", [1], id="byte order mark"),
        pytest.param(b"[18446744073709551615]", [2**64 - 1], id="uint64"),
    ],
)
def test_parse(body: bytes, expected: Any) -> None:
    assert parse(body) == expected


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
        pytest.param(
            b'{"a":1,}',
            "Missing a name for object member, trailing comma",
            id="tfs 101, a comma before a brace",
        ),
        pytest.param(
            b"{'a':1}", "Missing a name for object member.", id="tfs 101, quotes"
        ),
        pytest.param(b"[1,]", "Invalid value, trailing comma", id="trailing comma"),
        pytest.param(
            b"[1 2]",
            "Missing a comma or ']' after an array element. at offset: 3",
            id="tfs 101, no comma",
        ),
        pytest.param(
            b'{"a" 1}',
            "Missing a colon after a name of object member.",
            id="tfs 101, no colon",
        ),
        pytest.param(
            b'{"a":1e400}',
            "Number too big to be stored in double.",
            id="tfs 100, too large a number",
        ),
        pytest.param(b'["a\xc3\xa9", x]', "at offset: 8", id="an offset in bytes"),
        *(
            pytest.param(text, "JSON Parse error", id=f"tfs 100, {text.decode()}")
            for text in (
                b"nan",
                b"+1",
                b".5",
                b"1.",
                b"NaNs",
                b"Infi",
                b"+Inf",
                b"--Inf",
            )
        ),
        pytest.param(b'{"a":NaN,}', "trailing comma", id="a comma after a token"),
        pytest.param(b'{"NaN":NaN x', "at offset: 11", id="an offset after a token"),
        pytest.param(b"[NaN, 1e400]", "too big", id="too large beside a token"),
        pytest.param(b'[NaN, "\\ud800"]', "surrogate", id="half a character"),
        pytest.param(b'{"a":"\xff"}', "not valid UTF-8", id="not UTF-8"),
        pytest.param(b"[" * 500_000, "depth limit", id="deep nesting"),
    ],
)
def test_parse_refuses(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        parse(body)


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ("NaN", math.nan),
        ("-NaN", math.nan),
        ("Inf", math.inf),
        ("-Inf", -math.inf),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers_that_are_not_finite_are_tokens(token: str, value: float) -> None:
    """TensorFlow Serving's conformance case 100."""
    body = f'{{"a NaN":[1,{token}, "-Inf \\" NaN"],"b":{2**64},"c":{10**30}}}'

    parsed = parse(body.encode())

    (one, number, text), *large = parsed.values()
    assert (one, text, large) == (1, '-Inf " NaN', [float(2**64), 1e30])
    assert number == value or math.isnan(number) and math.isnan(value)
    assert list(parsed) == ["a NaN", "b", "c"]


def test_a_repeated_key_beside_a_token_is_refused() -> None:
    with pytest.raises(InvalidRequest, match='key "a" is there twice'):
        refuse_duplicates(b'{"a": -Inf, "a": Inf}', {"a": math.inf})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a": 1, "b": "a"}', id="a text like a key"),
        pytest.param(b'{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}', id="in others"),
        pytest.param(b'{"a": "\\"a\\": 1", "b": ":"}', id="a text like an object"),
        pytest.param(b'{"a\\\\": 1, ":b"\n\t: 2}', id="odd keys"),
    ],
)
def test_keys_of_different_objects_or_texts_are_no_duplicates(body: bytes) -> None:
    refuse_duplicates(body, parse(body))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a": 1, "a": 2}', id="at the top"),
        pytest.param(b'{"x": {"a": 1, "b": 2, "a": 1}}', id="in an object"),
        pytest.param(b'{"x": [[{"b": 1}, {"a": 1,"a" \n: 1}]]}', id="in a list"),
        pytest.param(b'{"a": 1, "\\u0061": 2}', id="escaped"),
        pytest.param(b'{"b\\\\": 1, "a": 1, "a": 2}', id="beside a backslash"),
    ],
)
def test_duplicates_are_refused_at_any_depth(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match='key "a" is there twice'):
        refuse_duplicates(body, parse(body))


def test_duplicates_in_deep_nesting() -> None:
    deep = b'{"a": ":", "b": %b1%b, "a": 1}' % (b"[" * 100_000, b"]" * 100_000)

    with pytest.raises(InvalidRequest, match="nested too deep"):
        refuse_duplicates(deep, {"a": 1, "b": 1})


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
    assert decode_base64(value) == expected


@pytest.mark.parametrize("text", ["a", "_-8=", "aGk=\n", "aGk=é", "a=b="])
def test_decode_base64_refuses(text: str) -> None:
    with pytest.raises(InvalidRequest, match="Unable to base64 decode"):
        decode_base64([{"b64": text}])


def test_decode_base64_in_deep_nesting() -> None:
    value: Any = {"b64": "aGk="}
    for _ in range(100_000):
        value = [value]

    with pytest.raises(InvalidRequest, match="nested too deep"):
        decode_base64(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"a": None}, '{"a":null}', id="JSON"),
        pytest.param("x" * 1000, '"' + "x" * 99 + "...", id="long"),
        pytest.param(b"raw", "\"b'raw'\"", id="bytes"),
    ],
)
def test_show(value: Any, text: str) -> None:
    assert show(value) == text


def test_show_of_deep_nesting() -> None:
    value: Any = 1
    for _ in range(900):
        value = [value]

    assert len(show(value)) < 100
