"""The codec of plain rows gives what the general ones give, or nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference import InferenceError, Signature, bind
from inference.types import Part
from service.codecs.json.arrays import PIECE_COST
from service.codecs.tfserving.plain import (
    MAX_OUTLINE,
    MAX_OUTLINES,
    PlainRows,
    encode_plain,
)
from service.codecs.tfserving.request import ROWS, decode
from service.codecs.tfserving.response import encode
from tests.support.specs import signature, spec

DTYPES = [
    *("float16", "float32", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
]
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-130, 260),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 0.5, 1e39, 7.038531e-26, 65520, 5e-324]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    NUMBERS | st.sampled_from([True, None, "1", [], {}]),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)
ROWS_OF_NUMBERS = st.integers(1, 3).flatmap(
    lambda size: st.lists(
        st.lists(NUMBERS, min_size=size, max_size=size), min_size=1, max_size=3
    )
)


def known(*shape: int | None, dtype: str = "float32") -> Signature:
    return signature(spec("x", dtype, shape))


@pytest.mark.parametrize("dtype", DTYPES)
@given(instances=ROWS_OF_NUMBERS | VALUES, columns=st.sampled_from([(None,), ()]))
def test_decoded_as_by_the_general_way(
    dtype: str, instances: Any, columns: tuple[None, ...]
) -> None:
    body = json.dumps({"instances": instances}).encode()
    of = known(None, *columns, dtype=dtype)
    codec = PlainRows.of(of)
    assert codec is not None

    # The first body of an outline is decoded otherwise than the next ones.
    codec.decode(json.dumps({"instances": with_halves(instances)}).encode())
    found = codec.decode(body)

    if found is None:
        return

    call = decode(body)
    wanted = bind(of, call.inputs, call.exact)
    assert found.keys() == wanted.keys()
    assert found["x"].dtype == wanted["x"].dtype
    assert found["x"].shape == wanted["x"].shape
    assert found["x"].tobytes() == wanted["x"].tobytes()


def with_halves(values: Any) -> Any:
    """Return `values` with 0.5 in place of each number: a text of the same outline."""
    if isinstance(values, list):
        return [with_halves(value) for value in values]

    return 0.5 if type(values) in (int, float) else values


@pytest.mark.parametrize("dtype", DTYPES)
def test_usual_rows_are_decoded(dtype: str) -> None:
    codec = PlainRows.of(known(None, 2, dtype=dtype))
    assert codec is not None

    for _ in range(3):
        found = codec.decode(b'{"instances": [[1, 2], [3, 4]]}')
        assert found is not None
        assert found["x"].dtype == dtype
        assert found["x"].tolist() == [[1, 2], [3, 4]]


def test_known_outline_with_other_contents_is_left_to_the_general_way() -> None:
    codec = PlainRows.of(known(None, None))
    assert codec is not None
    assert codec.decode(b'{"instances": [[1], [2]]}') is not None

    for body in (
        b'{"instances": [[1], []]}',
        b'{"instances": [[], []]}',
        b'{"instances": [[1 2], [3]]}',
        b'{"instances": [[+1], [2]]}',
        b'{"instances": [[1e999], [2]]}',
        b'{"inst ances": [[1], [2]]}',
        b'{"instances": [[16777217], [2]]}',
    ):
        assert codec.decode(body) is None, body

    assert codec.decode(b'{"instances": [[3], [4]]}') is not None


def test_many_outlines_are_decoded() -> None:
    codec = PlainRows.of(known(None, 1))
    assert codec is not None

    for count in (*range(1, 2 * MAX_OUTLINES), MAX_OUTLINE, 1):
        rows = [[float(number)] for number in range(count)]
        body = json.dumps({"instances": rows}).encode()
        for _ in range(2):
            found = codec.decode(body)
            assert found is not None
            assert found["x"].tolist() == rows


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b'{"instances": [[1, 2, 3]]}',
        b'{"instances": [1, 2]}',
        b'{"instances": [[1, 2], [3]]}',
        b'{"instances": []}',
        b'{"instances": [["1", 2]]}',
        b'{"instances": [[true, 2]]}',
        b'{"instances": [[1, 2]], "instances": [[1, 2]]}',
        b'{"inputs": [[1, 2]]}',
        b'{"instances": [[1, 2]], "signature_name": "a"}',
        b'{"in stances": [[1, 2]]}',
        b'{"instances": [[1, 2]]}]',
        b'{"instances": [[7.038531e-26, 2]]}',
    ],
)
def test_unsure_bodies_are_left(body: bytes) -> None:
    codec = PlainRows.of(known(None, 2))
    assert codec is not None
    assert codec.decode(body) is None


@pytest.mark.parametrize("text", [b"5", b"-1.5", b"[[5]]", b"[]"])
def test_rows_of_single_numbers_are_in_a_list(text: bytes) -> None:
    codec = PlainRows.of(known(None))
    assert codec is not None
    found = codec.decode(b'{"instances": [5]}')
    assert found is not None
    assert found["x"].tolist() == [5.0]
    assert codec.decode(b'{"instances": %b}' % text) is None


@pytest.mark.parametrize(
    "of",
    [
        known(),
        known(2, 2),
        known(None, 2, dtype="string"),
        known(None, 2, dtype="bool"),
        known(None, 2, dtype="bfloat16"),
        signature(spec("x")),
        signature(spec("x", shape=(None,)), spec("z", shape=(None,))),
        replace(known(None, 2), seed="seed"),
        signature(
            replace(
                spec("x", shape=(None,)),
                part=Part(of="r", kind="ragged", role="values"),
            )
        ),
    ],
)
def test_other_signatures_have_no_codec(of: Signature) -> None:
    assert PlainRows.of(of) is None


def test_optional_inputs_may_be_left_out() -> None:
    optional = spec("on", "bool", (), default=np.array(False))

    assert PlainRows.of(signature(spec("x", shape=(None, 2)), optional)) is not None


@pytest.mark.parametrize("dtype", [*DTYPES, "bool"])
@pytest.mark.parametrize("shape", [(1,), (2, 3), (2, 0), (0, 3), (1, 1, 2)])
def test_encoded_as_by_the_general_way(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    found = encode_plain({"y": array})

    assert found is None or found == encode({"y": array}, ROWS)


@pytest.mark.parametrize(
    "outputs",
    [
        {"y": np.zeros(2), "z": np.zeros(2)},
        {"y": np.array(1.0)},
        {"y": np.array([np.nan])},
        {"y": np.array([np.inf, 1])},
        {"y": np.array([b"a"], object)},
        {"y": np.zeros((PIECE_COST + 1, 1))},
        {"y": np.array([True])},
    ],
)
def test_other_answers_are_left(outputs: Any) -> None:
    assert encode_plain(outputs) is None


def test_scalar_answers_are_refused_by_the_general_way() -> None:
    with pytest.raises(InferenceError, match="no shape information"):
        encode({"y": np.array(1.0)}, ROWS)
