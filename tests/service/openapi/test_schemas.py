"""The schemas take what the server takes, and refuse what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import numpy as np
import pytest

from inference import Part
from service.openapi.document import SCHEMAS
from service.openapi.schemas import (
    examples_body,
    infer_body,
    predict_answer,
    predict_body,
    tensor_schema,
)
from tests.support.fakes import tensor
from tests.support.openapi import ROWS, sampled

if TYPE_CHECKING:
    from inference import Shape, Signature

PAIR = sampled(
    tensor("a", shape=(None, 2)),
    tensor("b", "int32", (None,)),
    tensor("on", "bool", (), default=np.array(False)),
    outputs=(tensor("y", shape=(None, 1)), tensor("n", "int64", (None,))),
)
IMAGE = sampled(tensor("x", shape=(None, 8, 8, 3)))
WHOLE = sampled(tensor("x", shape=(2, 2)))
WORDS = sampled(tensor("x", "string", (None,)))
B64 = {"b64": "AAAA"}


def accepts(schema: dict[str, Any], value: object) -> bool:
    """Return whether a schema of the document takes a value."""
    whole = {**schema, "components": {"schemas": SCHEMAS}}
    return bool(jsonschema.Draft202012Validator(whole).is_valid(value))


@pytest.mark.parametrize(
    ("dtype", "shape", "good", "bad"),
    [
        ("float32", (), 1.5, [1.5]),
        ("float32", (None, 2), [[1, 2.5]], [[1]]),
        ("bfloat16", (2,), [1, 2], ["1", "2"]),
        ("int8", (None,), [-128, 127], [128]),
        ("int64", (), 2**63 - 1, 2**63),
        ("uint64", (), 2**64 - 1, -1),
        ("uint4", (), 15, 16),
        ("bool", (1,), [True], [1]),
        ("string", (None,), ["a", B64], [1]),
        ("string", (), B64, {"b64": "AAAA", "more": 1}),
    ],
)
def test_tensor_schema(dtype: str, shape: Shape, good: object, bad: object) -> None:
    schema = tensor_schema(dtype, shape)

    assert accepts(schema, good)
    assert not accepts(schema, bad)


def test_an_unknown_rank_takes_lists_of_any_depth() -> None:
    schema = tensor_schema("float32", None)

    assert accepts(schema, 1)
    assert accepts(schema, [[[1]]])


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        pytest.param(ROWS, {"instances": [[1, 2, 3]]}, id="rows"),
        pytest.param(ROWS, {"instances": [{"x": [1, 2, 3]}]}, id="named rows"),
        pytest.param(ROWS, {"inputs": [[1, 2, 3]]}, id="a tensor"),
        pytest.param(ROWS, {"inputs": {"x": [[1, 2, 3]]}}, id="a named tensor"),
        pytest.param(
            ROWS,
            {"instances": [[1, 2, 3]], "signature_name": "serving_default", "top_k": 1},
            id="options",
        ),
        pytest.param(PAIR, {"instances": [{"a": [1, 2], "b": 3}]}, id="two inputs"),
        pytest.param(
            PAIR,
            {"inputs": {"a": [[1, 2]], "b": [3], "on": True}, "outputs": ["n"]},
            id="an optional input and chosen outputs",
        ),
        pytest.param(IMAGE, {"instances": [B64]}, id="an encoded image"),
        pytest.param(IMAGE, {"inputs": {"x": [B64]}}, id="encoded images"),
        pytest.param(WORDS, {"instances": ["a", B64]}, id="strings"),
        pytest.param(WHOLE, {"inputs": [[1, 2], [3, 4]]}, id="a fixed batch"),
    ],
)
def test_predict_bodies_that_fit(signature: Signature, body: object) -> None:
    assert accepts(predict_body(signature, named=False), body)


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        pytest.param(ROWS, {}, id="no values"),
        pytest.param(ROWS, {"instances": []}, id="no rows"),
        pytest.param(ROWS, {"instances": [[1, 2]]}, id="a short row"),
        pytest.param(ROWS, {"instances": [[1, 2, 3]], "k": 1}, id="an unknown key"),
        pytest.param(
            ROWS, {"instances": [[1, 2, 3]], "signature_name": "no"}, id="another name"
        ),
        pytest.param(ROWS, {"inputs": [[1, 2, 3]], "seed": 1}, id="no dropout"),
        pytest.param(PAIR, {"instances": [{"a": [1, 2]}]}, id="an input is missing"),
        pytest.param(WHOLE, {"instances": [[1, 2], [3, 4]]}, id="no rows to send"),
        pytest.param(WORDS, {"instances": ["a"], "outputs": ["z"]}, id="no output"),
    ],
)
def test_predict_bodies_that_do_not_fit(signature: Signature, body: object) -> None:
    assert not accepts(predict_body(signature, named=False), body)


def test_a_signature_that_is_not_the_default_must_be_named() -> None:
    schema = predict_body(ROWS, named=True)

    assert not accepts(schema, {"instances": [[1, 2, 3]]})
    assert accepts(
        schema, {"instances": [[1, 2, 3]], "signature_name": "serving_default"}
    )


def test_dropout_can_be_asked_for_where_there_is_some() -> None:
    dropout = sampled(tensor("x", shape=(None, 3)), seed="seed")
    body = {"inputs": [[1, 2, 3]], "training": True, "seed": 7, "samples": 2}

    assert accepts(predict_body(dropout, named=False), body)


@pytest.mark.parametrize(
    ("signature", "answer", "fits"),
    [
        (ROWS, {"predictions": [[0.5, 0.5]]}, True),
        (PAIR, {"outputs": {"y": [[1]], "n": [1]}}, True),
        # What a request chose, such as the best classes.
        (ROWS, {"predictions": [{"classes": [1], "scores": [0.5]}]}, True),
        (ROWS, {"predictions": 1}, False),
    ],
)
def test_predict_answers(signature: Signature, answer: object, fits: bool) -> None:
    assert accepts(predict_answer(signature), answer) is fits


def test_ragged_answers_have_no_shape() -> None:
    part = Part(of="r", kind="ragged", role="values")
    splits = Part(of="r", kind="ragged", role="row_splits")
    values = tensor("r/values")
    ragged = sampled(
        tensor("x", shape=(None,)),
        outputs=(
            type(values)(
                name="r/values", tensor="a", dtype="int32", shape=(None,), part=part
            ),
            type(values)(
                name="r/splits", tensor="b", dtype="int64", shape=(None,), part=splits
            ),
        ),
    )

    assert accepts(predict_answer(ragged), {"outputs": [[1], [2, 3]]})
    assert accepts(predict_body(ragged, named=False), {"inputs": [1], "outputs": ["r"]})


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"examples": [{"x": [1, 2, 3]}]}, True),
        ({"examples": [{}], "context": {"x": 1.5}}, True),
        ({"examples": []}, False),
        ({"examples": [{"x": "word"}]}, False),
        ({"examples": [{}], "instances": []}, False),
    ],
)
def test_bodies_of_examples(body: object, fits: bool) -> None:
    assert accepts(examples_body(ROWS, named=False), body) is fits


def v2(**fields: Any) -> dict[str, Any]:
    return {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 3],
        "data": [1, 2, 3],
    } | fields


@pytest.mark.parametrize(
    ("signature", "body", "fits"),
    [
        pytest.param(ROWS, {"inputs": [v2()]}, True, id="JSON"),
        pytest.param(
            ROWS,
            {"id": "1", "inputs": [v2()], "outputs": [{"name": "y"}]},
            True,
            id="chosen outputs",
        ),
        pytest.param(ROWS, {"inputs": [v2(datatype="FP64")]}, False, id="datatype"),
        pytest.param(ROWS, {"inputs": [v2(name="z")]}, False, id="an unknown input"),
        pytest.param(ROWS, {"inputs": [v2(shape=[3])]}, False, id="rank"),
        pytest.param(ROWS, {"inputs": []}, False, id="no inputs"),
        pytest.param(
            ROWS, {"inputs": [v2()], "outputs": [{"name": "z"}]}, False, id="no output"
        ),
        pytest.param(
            IMAGE, {"inputs": [v2(datatype="BYTES", shape=[1])]}, True, id="images"
        ),
    ],
)
def test_inference_requests(signature: Signature, body: object, fits: bool) -> None:
    assert accepts(infer_body(signature), body) is fits
