"""The fast and the slow path of reading a body must agree."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference import InferenceError, Signature, bind
from service.codecs.json.numbers import FlatNumbers
from service.codecs.json.reader import outline_of, outline_size
from service.codecs.tfserving.request import decode, decode_slowly
from tests.support.fakes import signature, tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from service.codecs.tfserving.request import PredictCall

DTYPES = [
    "float16", "bfloat16", "float32", "float64", "int8", "uint8", "int16", "uint16",
    "int32", "uint32", "int64", "uint64", "bool", "string",
]  # fmt: skip
BORDERS = [
    *(sign * (2**bits + offset)
      for bits in (0, 7, 8, 11, 15, 16, 24, 25, 31, 32, 53, 54, 61, 62, 63, 64, 70)
      for offset in (-1, 0, 1) for sign in (1, -1)),
    0, 65504, 65520, 10**19, 10**30,
]  # fmt: skip
ODD_NUMBERS = [
    "-0", "-0.0", "0.0", "1.0", "1e5", "1E5", "1e+2", "1e-400", "-1e-400", "1e400",
    "1e308", "-1e308", "3.4028235677973366e38", "3.4028236e38", "1e39", "65519.999",
    "9007199254740993.0", "18446744073709551616.5", "2.2250738585072011e-308",
    "4.9e-324", "1.00390625", "1.01171875", "16777217", "123456789012345678901",
]  # fmt: skip
NO_NUMBERS = [
    "NaN", "-Infinity", "01", "1.", "+1", ".5", "-", "0x1", "1_0", "", "tru", "nul",
    "'a'", "\x00", "1 2", "1]", "[1", "{", "\ufeff1", "\u00a01",
]  # fmt: skip
ODD_BYTES = [b"", b"\xff", *(bytes([byte]) for byte in b'[],"{}:0\x00\\-.e ')]


def outcome(
    read: Callable[[bytes], PredictCall], body: bytes, wanted: Signature
) -> tuple[Any, ...]:
    """Return each array to the bit, or the error's text."""
    try:
        call = read(body)
        bound = bind(wanted, call.inputs)
    except InferenceError as exc:
        return type(exc), str(exc)

    return call.form, call.signature, [(k, *_contents(v)) for k, v in bound.items()]


def _contents(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    values = array.tolist() if array.dtype == object else array.tobytes()
    return array.dtype, array.shape, values


def compare(body: bytes, *dtypes: str) -> None:
    for dtype in dtypes or DTYPES:
        one = signature(tensor("x", dtype))
        two = signature(
            tensor("a", dtype),
            tensor("b", dtype, (), default=np.zeros((), bool)),
            name="two",
        )
        for wanted in (one, two):
            fast = outcome(decode, body, wanted)
            assert fast == outcome(decode_slowly, body, wanted), (dtype, body)


integers = st.one_of(
    st.integers(-300, 300), st.sampled_from(BORDERS), st.integers(-(2**65), 2**65)
)
floats = st.floats(allow_nan=False, allow_infinity=False)
singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
numbers = st.one_of(
    integers.map(str), floats.map(repr), singles.map(repr), st.sampled_from(ODD_NUMBERS)
)
strings = st.text(max_size=6).map(json.dumps)
others = st.one_of(st.sampled_from(["true", "false", "null", "{}", "[]"]), strings)
spaces = st.sampled_from(["", "", "", " ", "\n", "\t \r"])


@st.composite
def tensors(draw: st.DrawFn, leaves: st.SearchStrategy[str] = numbers) -> str:
    """Draw a regular nested list, sometimes with one leaf replaced."""
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    count = int(np.prod(shape))
    one_kind = draw(st.sampled_from([leaves, integers.map(str), floats.map(repr)]))
    items = draw(st.lists(one_kind, min_size=count, max_size=count))
    if draw(st.integers(0, 3)) == 0:
        odd = st.one_of(others, st.sampled_from(NO_NUMBERS), st.just("[1, 2]"))
        items[draw(st.integers(0, count - 1))] = draw(odd)

    comma, space = "," + draw(spaces), draw(spaces)
    for size in reversed(shape):
        items = [
            f"[{space}{comma.join(items[i : i + size])}{space}]"
            for i in range(0, len(items), size)
        ]

    return items[0]


ragged = st.recursive(
    numbers,
    lambda inner: st.lists(inner, max_size=3).map(lambda i: f"[{', '.join(i)}]"),
    max_leaves=8,
)
values = st.one_of(tensors(), tensors(), ragged, numbers, others)
names = st.sampled_from(
    ["a", "b", "x", "y", "b64", "inputs", "instances", "\\u0061", "a\\u0000", "", "a/b"]
)


@st.composite
def objects(draw: st.DrawFn) -> str:
    pairs = draw(st.lists(st.tuples(names, values), max_size=3))
    return "{" + ", ".join(f'"{name}": {value}' for name, value in pairs) + "}"


@st.composite
def rows(draw: st.DrawFn) -> str:
    """Draw mostly similar objects, long enough to be read fast."""
    keys = draw(st.lists(names, min_size=1, max_size=2, unique=True))
    shape = draw(st.lists(st.integers(1, 3), max_size=2))
    leaves = draw(st.sampled_from([numbers, integers.map(str), floats.map(repr)]))
    some = st.lists(leaves, min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    items = []
    for _ in range(draw(st.integers(1, 3))):
        odd = draw(st.integers(0, 9)) == 0
        fields = [
            f'"{key}": {draw(values) if odd else _nest(draw(some), shape)}'
            for key in keys
        ]
        items.append("{" + ",".join(fields) + " " * 128 + "}")

    return f"[{','.join(items)}]"


def _nest(items: list[str], shape: list[int]) -> str:
    for size in reversed(shape):
        items = [
            f"[{','.join(items[i : i + size])}]" for i in range(0, len(items), size)
        ]

    return items[0]


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    content = st.one_of(
        values,
        values,
        rows(),
        rows(),
        objects(),
        st.lists(objects(), max_size=3).map(", ".join),
    )
    key = st.sampled_from(
        ["instances", "instances", "inputs", "inputs", "signature_name", "other",
         "inst\\u0061nces", "inputs\\u0000"]
    )  # fmt: skip
    pair = st.tuples(key, content)
    pairs = draw(st.lists(pair, min_size=1, max_size=draw(st.sampled_from([1, 1, 2]))))
    if draw(st.integers(0, 4)) == 0:
        pairs.insert(draw(st.integers(0, 1)), ("signature_name", '"two"'))

    space = draw(spaces)
    text = ",".join(f'{space}"{name}"{space}:{space}{value}' for name, value in pairs)
    start = draw(st.sampled_from(["", "", "", "\ufeff", " "]))
    return f"{start}{{{text}{space}}}{draw(spaces)}".encode("utf-8", "surrogatepass")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a document that is truncated or has a few bytes changed."""
    body = bytearray(draw(documents()))
    if draw(st.booleans()):
        del body[draw(st.integers(0, len(body))) :]

    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(body)))
        new = draw(st.sampled_from(ODD_BYTES))
        body[place : place + draw(st.integers(0, 2))] = new

    return bytes(body)


many = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@many
@given(body=documents())
def test_documents_are_read_alike(body: bytes) -> None:
    compare(body)


@many
@given(body=mutated())
def test_broken_documents_are_read_alike(body: bytes) -> None:
    compare(body, "float32", "int64")


@many
@given(items=st.lists(numbers, min_size=1, max_size=20))
def test_numbers_are_read_alike(items: list[str]) -> None:
    compare(b'{"instances":[%b]}' % ",".join(items).encode())


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_bits_are_rounded_alike(dtype: str) -> None:
    bits = np.random.default_rng(1).integers(0, 2**64, 20_000, np.uint64)
    values = bits.view(np.float64)
    texts = [repr(value) for value in values[np.isfinite(values)].tolist()]

    compare(f'{{"inputs": [{",".join(texts)}]}}'.encode(), dtype)


def test_halfway_cases_are_rounded_alike() -> None:
    source = random.Random(1)
    halves = [source.getrandbits(62) | 1 << 61 for _ in range(2000)]
    exact = [(h >> s) << s | 1 << (s - 1) for h in halves for s in (8, 9, 37, 38, 53)]
    texts = [*map(str, exact), *(f"{item}.0" for item in exact)]

    for half in (exact, texts):
        body = f'{{"inputs": [{",".join(map(str, half))}]}}'.encode()
        compare(body, "float16", "bfloat16", "float32", "float64")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"instances": [[1, 2], [3, 4]]}', id="rows"),
        pytest.param(b'{"inputs": [1.5, 2]}', id="columns"),
        pytest.param(b'{"instances": [{"x": [1, 2]}]}', id="an object"),
        pytest.param(
            b'{"signature_name": "s", "instances": [%b]}'
            % b", ".join([b'{"a": [[1.5]], "b": "text", "c": 1%b}' % (b" " * 200)] * 9),
            id="objects",
        ),
        pytest.param(
            b'{"signature_name": "s", "inputs": {"a": [[1]], "b": 2}}', id="named"
        ),
        pytest.param(b'\xef\xbb\xbf{"instances": [1]}', id="byte order mark"),
        pytest.param(b'{"instances": %b}' % json.dumps([[0.5] * 999] * 99).encode(),
                     id="large"),
    ],
)  # fmt: skip
def test_regular_documents_are_read_fast(body: bytes) -> None:
    values = list(decode(body).inputs.values())

    assert any(isinstance(value, FlatNumbers) for value in values)
    compare(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            b'{"instances": [{"x": [1]}, {"x": [2]}, {"x": [3]}]}', id="short objects"
        ),
        pytest.param(b'{"instances": [{"x": [1]}, {"y": [1]}]}', id="other keys"),
        pytest.param(b'{"instances": [{"x": [1]}, {"x": [1, 2]}]}', id="other shapes"),
        pytest.param(b'{"instances": [{"x": [1]}, {"x": 1}]}', id="other kinds"),
        pytest.param(b'{"instances": [{"x": [1]}, [1]]}', id="a list of all kinds"),
        pytest.param(b'{"instances": [{"x": [1]}, 2]}', id="an object and a number"),
        pytest.param(b'{"instances": [{"x": {"y": [1]}}]}', id="an object in a row"),
        pytest.param(b'{"instances": [{"x": [{"y": 1}]}]}', id="rows in a row"),
        pytest.param(b'{"instances": [{"x": [1], "x": [1]}]}', id="a row's key twice"),
        pytest.param(b'{"inputs": [{"x": [1]}]}', id="a list of objects as columns"),
        pytest.param(b'{"instances": ["a"]}', id="strings"),
        pytest.param(b'{"instances": [true]}', id="booleans"),
        pytest.param(b'{"instances": []}', id="empty"),
        pytest.param(b'{"instances": [[1], [2, 3]]}', id="ragged"),
        pytest.param(b'{"instances": [[1], 2]}', id="mixed"),
        pytest.param(b'{"instances": [1], "instances": [1]}', id="twice"),
        pytest.param(b'{"inputs": {"a": [1], "a": [1]}}', id="an input twice"),
        pytest.param(b'{"inputs": {"b64": [1]}}', id="an input called b64"),
        pytest.param(b'{"inputs": {"a": [1], "a\\u0000": [2]}}', id="NUL in a key"),
        pytest.param(b'{"inputs\\u0000": [1]}', id="NUL in the only key"),
        pytest.param(b'{"inputs": {"a": {"b": [1]}}}', id="an object in an object"),
        pytest.param(b'{"instances": [1], "more": 1}', id="an unknown key"),
        pytest.param(b'{"instances": [1e999]}', id="no JSON"),
        pytest.param(b'{"signature_name": 1, "instances": [1]}', id="no signature"),
        pytest.param(b'{"instances": %b}' % (b"[" * 65 + b"1" + b"]" * 65), id="deep"),
        pytest.param(
            b'{"inputs": {%b}}' % b",".join(b'"%d": [1]' % i for i in range(999)),
            id="many inputs",
        ),
        pytest.param(
            b'{"instances": [[%b]%b]}' % (b",".join([b"1"] * 9999), b",1" * 9999),
            id="a small text that promises much",
        ),
    ],
)
def test_other_documents_are_read_slowly(body: bytes) -> None:
    try:
        values = list(decode(body).inputs.values())
    except InferenceError:
        values = []

    assert not any(isinstance(value, FlatNumbers) for value in values)
    compare(body, "float32")


def test_empty_lists_are_not_read_as_ones() -> None:
    """Their brackets and commas are the same."""
    compare(b'{"instances": [[1], []]}')
    compare(b'{"instances": [[[1]], [[]]]}')


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 1), (3, 4), (2, 1, 3), (2, 3, 4, 5)])
def test_outlines(shape: tuple[int, ...]) -> None:
    text = json.dumps(np.zeros(shape, int).tolist()).replace(" ", "").replace("0", "")

    assert outline_of(shape) == text.encode()
    assert outline_size(shape) == len(text)


def test_numbers_of_several_requests_are_kept_apart() -> None:
    """A parser holds one text: numbers that aren't bound yet stay intact."""
    calls = [decode(b'{"instances": [%d, %d]}' % (i, i + 1)) for i in range(5)]

    bound = [bind(signature(tensor("x")), call.inputs)["x"] for call in calls]

    assert [array.tolist() for array in bound] == [[i, i + 1] for i in range(5)]


def test_the_slow_path_is_taken_once_for_all_inputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[bytes] = []

    def parse(body: bytes) -> Any:
        parsed.append(body)
        return orjson.loads(body)

    monkeypatch.setattr("service.codecs.json.numbers.parse", parse)
    body = b'{"inputs": {"a": [[0]], "b": [1]}}'

    inputs = decode(body).inputs

    assert [numbers.array(np.dtype(bool)) for numbers in inputs.values()] == [None] * 2
    assert [numbers.lists() for numbers in inputs.values()] == [[[0]], [1]]
    assert parsed == [body]
