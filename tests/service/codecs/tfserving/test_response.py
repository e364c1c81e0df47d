from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import orjson
import pytest

from inference import InvalidRequest, Ragged, Sparse
from service.codecs.json import arrays
from service.codecs.tfserving.request import Form
from service.codecs.tfserving.response import encode, encode_pieces, is_small

F4 = np.float32
ONE = {"y": np.array([[1, 2], [3, 4]], F4)}
TWO = {"a": np.array([1, 2], F4), "b": np.array([[1, 2], [3, 4]], F4)}
UNEVEN = {"a": np.zeros(2, F4), "b": np.zeros(1, F4)}
NO_ROWS = np.zeros((0, 2), F4)
RAGGED = Ragged(np.array([1, np.nan, 3], F4), (np.array([0, 2, 2, 3]),))
DEEP = Ragged(
    np.array([b"a", b"b", b"c"], object), (np.array([0, 2, 3]), np.array([0, 1, 1, 3]))
)
LONG = Ragged(np.arange(29_999), (np.array([*range(10_000), 29_999]),))
SPARSE = Sparse(np.array([[0, 1]]), np.array([0.5], F4), np.array([2, 3]))


@pytest.mark.parametrize(
    ("outputs", "form", "text"),
    [
        pytest.param(
            ONE, Form.ROWS, b'{"predictions":[[1.0,2.0],[3.0,4.0]]}', id="rows"
        ),
        pytest.param(
            ONE, Form.COLUMNS, b'{"outputs":[[1.0,2.0],[3.0,4.0]]}', id="columns"
        ),
        pytest.param(
            TWO,
            Form.ROWS,
            b'{"predictions":[{"a":1.0,"b":[1.0,2.0]},{"a":2.0,"b":[3.0,4.0]}]}',
            id="rows, two outputs",
        ),
        pytest.param(
            TWO,
            Form.COLUMNS,
            b'{"outputs":{"a":[1.0,2.0],"b":[[1.0,2.0],[3.0,4.0]]}}',
            id="columns, two outputs",
        ),
        pytest.param(
            {"y": np.array(2.5, F4)}, Form.COLUMNS, b'{"outputs":2.5}', id="scalar"
        ),
        pytest.param(
            {"y": np.array(b"cat", object), "sure": np.array(True)},
            Form.COLUMNS,
            b'{"outputs":{"y":"cat","sure":true}}',
            id="scalar string",
        ),
        pytest.param(
            {"y": np.array(b"\x89PNG", object)},
            Form.COLUMNS,
            b'{"outputs":{"b64":"iVBORw=="}}',
            id="scalar of bytes",
        ),
        pytest.param(
            UNEVEN,
            Form.COLUMNS,
            b'{"outputs":{"a":[0.0,0.0],"b":[0.0]}}',
            id="columns of unequal sizes",
        ),
        pytest.param({"y": NO_ROWS}, Form.ROWS, b'{"predictions":[]}', id="77, one"),
        pytest.param(
            {"a": NO_ROWS, "b": NO_ROWS}, Form.ROWS, b'{"predictions":[]}', id="77, two"
        ),
        pytest.param(
            {"null": np.array([np.nan, 1], F4), "s": np.array([b"null", b"\xff"], "O")},
            Form.ROWS,
            b'{"predictions":[{"null":NaN,"s":"null"},{"null":1.0,"s":{"b64":"/w=="}}]}',
            id="rows of numbers that are not finite, and text",
        ),
        pytest.param(
            {"r": RAGGED},
            Form.COLUMNS,
            b'{"outputs":[[1.0,NaN],[],[3.0]]}',
            id="ragged",
        ),
        pytest.param(
            {"d": DEEP, "y": np.array([1, 2])},
            Form.ROWS,
            b'{"predictions":[{"d":[["a"],[]],"y":1},{"d":[["b","c"]],"y":2}]}',
            id="rows of rows",
        ),
        pytest.param(
            {"d": DEEP, "s": SPARSE},
            Form.COLUMNS,
            b'{"outputs":{"d":[[["a"],[]],[["b","c"]]],'
            b'"s":{"indices":[[0,1]],"values":[0.5],"shape":[2,3]}}}',
            id="ragged and sparse",
        ),
        pytest.param(
            {"s": SPARSE, "y": np.array([1, 2])},
            Form.ROWS,
            b'{"predictions":[1,2]}',
            id="rows are without what is sparse",
        ),
    ],
)
def test_encode(
    outputs: dict[str, Any], form: Form, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert encode(outputs, form) == text
    for size in (1, 70, 130, 200, 100_000):
        monkeypatch.setattr(arrays, "PIECE_COST", size)
        assert b"".join(encode_pieces(outputs, form)) == text


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        pytest.param({}, "empty tensor map", id="71"),
        pytest.param({"y": np.zeros(2, "c8")}, "tensor type: complex64", id="72"),
        pytest.param(
            {"y": np.array(1, F4)}, "Tensor name: y has no shape information", id="73"
        ),
        pytest.param({"r": RAGGED}, "Tensor name: r is ragged, not one", id="ragged"),
        pytest.param({"s": SPARSE}, "Tensor name: s is sparse, not one", id="sparse"),
        pytest.param(
            {"r": RAGGED, "s": SPARSE}, "columnar form, with 'inputs'", id="neither"
        ),
        pytest.param(
            {"r": RAGGED, "y": np.zeros(2)},
            "Tensor name: y has inconsistent batch size: 2 expecting: 3",
            id="ragged of other rows",
        ),
        pytest.param(
            {"y": np.zeros(3), "r": Ragged(np.zeros(3, "c8"), (np.arange(4),))},
            "tensor type: complex64 (output 'r')",
            id="ragged of what JSON can't carry",
        ),
        pytest.param(
            UNEVEN,
            "Tensor name: b has inconsistent batch size: 1 expecting: 2; ask in the"
            " columnar form, with 'inputs'",
            id="76",
        ),
    ],
)
def test_encode_refuses(outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        encode(outputs, Form.ROWS)


@pytest.mark.parametrize("form", list(Form))
def test_refusals_come_before_the_first_piece(form: Form) -> None:
    outputs = {"a": np.zeros(2, F4), "y": np.zeros(2, "c8")}

    with pytest.raises(InvalidRequest, match="complex64"):
        encode_pieces(outputs, form)


def test_ragged_rows_come_in_pieces() -> None:
    pieces = list(encode_pieces({"r": LONG}, Form.COLUMNS))

    assert 1 < len(pieces) < 1000
    assert max(map(len, pieces)) < 16 * arrays.PIECE_COST
    rows = orjson.loads(b"".join(pieces))["outputs"]
    assert list(map(len, rows)) == [1] * 9_999 + [20_000]
    assert list(itertools.chain.from_iterable(rows)) == list(range(29_999))


def test_rows_of_long_and_short_outputs_come_in_pieces() -> None:
    outputs: dict[str, Any] = {
        "long": np.ones((3, 20_000), F4),
        "short": np.arange(3),
        "text": np.array([b"a", b"b", b"c"], object),
    }

    pieces = list(encode_pieces(outputs, Form.ROWS))

    assert not is_small(outputs)
    assert max(map(len, pieces)) < 16 * arrays.PIECE_COST
    rows = orjson.loads(b"".join(pieces))["predictions"]
    assert [(r["long"], r["short"], r["text"]) for r in rows] == [
        ([1.0] * 20_000, index, text) for index, text in enumerate("abc")
    ]


@pytest.mark.parametrize(
    ("outputs", "small"),
    [
        pytest.param({"y": np.zeros((1, 1000), F4)}, True, id="a row"),
        pytest.param({"y": np.zeros((100, 1000), F4)}, False, id="many numbers"),
        pytest.param({"y": np.array([b"a"] * 1000, object)}, False, id="strings"),
        pytest.param({"a": np.zeros(9, F4), "b": np.zeros(9)}, True, id="two"),
        pytest.param({"a": np.zeros(999, F4), "b": np.zeros(999)}, False, id="fields"),
        pytest.param({"a": np.array(1), "b": np.array(1)}, True, id="scalars"),
        pytest.param({"r": RAGGED}, True, id="ragged"),
        pytest.param({"r": LONG, "y": np.zeros(1)}, False, id="many ragged rows"),
        pytest.param({"s": SPARSE}, True, id="sparse"),
    ],
)
def test_is_small(outputs: dict[str, Any], small: bool) -> None:
    assert is_small(outputs) is small
