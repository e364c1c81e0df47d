from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from inference import Sample
from service.codecs.tfserving.examples import Method
from service.openapi.examples import (
    MAX_VALUES,
    PIXEL,
    can_answer,
    classify_example,
    infer_example,
    predict_example,
)
from tests.support.fakes import tensor
from tests.support.openapi import ROWS, sampled

if TYPE_CHECKING:
    from inference import Signature

WORDS = sampled(
    tensor("x", "string", (None,)),
    sample=Sample(shapes={}, texts={"x": b"word"}),
)
BYTES = sampled(
    tensor("x", "string", (None,)), sample=Sample(shapes={}, texts={"x": b"\xff"})
)
LONG = sampled(tensor("x", shape=(None, MAX_VALUES + 1)))
IMAGE = sampled(tensor("x", shape=(None, 64, 64, 3)))
OPEN_IMAGE = sampled(
    tensor("x", shape=(None, None, None, 3)),
    sample=Sample(shapes={"x": (1, 64, 64, 3)}),
)
NUMBER = tensor("y", shape=(None, 1))


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        pytest.param(ROWS, {"instances": [[0.0, 0.0, 0.0]]}, id="rows"),
        pytest.param(
            sampled(tensor("x", "int32", (2,))), {"inputs": [0, 0]}, id="a whole tensor"
        ),
        pytest.param(
            sampled(tensor("a", shape=(None,)), tensor("b", "bool", (None, 1))),
            {"instances": [{"a": 0.0, "b": [False]}]},
            id="two inputs",
        ),
        pytest.param(BYTES, {"instances": [{"b64": "/w=="}]}, id="bytes"),
        pytest.param(IMAGE, {"instances": [{"b64": PIXEL}]}, id="a large image"),
        pytest.param(OPEN_IMAGE, None, id="an image of any size"),
        pytest.param(LONG, None, id="a long one"),
        pytest.param(
            sampled(tensor("x", shape=(None, 3)), sample=None), None, id="untried"
        ),
    ],
)
def test_predict_example(signature: Signature, body: Any) -> None:
    assert predict_example(signature, named=False) == body


def test_a_signature_that_is_not_the_default_is_named() -> None:
    body = predict_example(ROWS, named=True)

    assert body is not None
    assert body["signature_name"] == "serving_default"


@pytest.mark.parametrize(
    ("signature", "tensors"),
    [
        pytest.param(ROWS, [("x", "FP32", [1, 3], [0.0] * 3)], id="numbers"),
        pytest.param(WORDS, [("x", "BYTES", [1], ["word"])], id="text"),
        pytest.param(BYTES, None, id="bytes"),
        pytest.param(IMAGE, None, id="a large image"),
        pytest.param(
            sampled(tensor("x", "float16", (None, 3))), None, id="binary data only"
        ),
        pytest.param(
            sampled(tensor("x"), outputs=[tensor("y", "complex64")]),
            None,
            id="an output without a datatype",
        ),
    ],
)
def test_infer_example(signature: Signature, tensors: list[Any] | None) -> None:
    body = infer_example(signature)

    found = None if body is None else [tuple(each.values()) for each in body["inputs"]]
    assert found == tensors


def test_examples_are_flat_features() -> None:
    assert classify_example(ROWS, Method.CLASSIFY, named=False) == {
        "examples": [{"x": [0.0, 0.0, 0.0]}]
    }


@pytest.mark.parametrize(
    ("signature", "methods"),
    [
        pytest.param(ROWS, {Method.CLASSIFY}, id="scores"),
        pytest.param(
            sampled(tensor("x", shape=(None, 3)), outputs=[NUMBER]),
            {Method.CLASSIFY, Method.REGRESS},
            id="a number a row",
        ),
        pytest.param(
            sampled(
                tensor("x", shape=(None, 3)), outputs=[tensor("y", "int64", (None,))]
            ),
            set(),
            id="integers",
        ),
        pytest.param(
            sampled(
                tensor("x", shape=(None, 3)),
                outputs=[NUMBER, tensor("z", shape=(None, 1))],
            ),
            set(),
            id="two outputs",
        ),
        pytest.param(
            sampled(
                tensor("x", "string", (None,)),
                outputs=[
                    tensor("scores", shape=(None, 2)),
                    tensor("classes", "string", (None, 2)),
                ],
                method="classify",
            ),
            {Method.CLASSIFY},
            id="serialized examples",
        ),
        pytest.param(sampled(tensor("x", shape=(2, 3))), set(), id="no rows"),
    ],
)
def test_which_methods_can_answer(signature: Signature, methods: set[Method]) -> None:
    assert {method for method in Method if can_answer(signature, method)} == methods


def test_features_that_a_parser_in_the_model_wants_are_unknown() -> None:
    assert classify_example(WORDS, Method.CLASSIFY, named=False) is None
