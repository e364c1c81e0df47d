from __future__ import annotations

from typing import Any

import pytest

from service.payloads.redaction import REDACTED, Redaction

AGE = frozenset({"age"})
TENSOR = {"name": "age", "shape": [1], "datatype": "FP32"}
OTHER = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}


@pytest.mark.parametrize(
    ("document", "left"),
    [
        pytest.param(
            {"instances": [{"age": 1, "x": 2}, {"age": [3], "x": 4}]},
            {"instances": [{"age": REDACTED, "x": 2}, {"age": REDACTED, "x": 4}]},
            id="rows",
        ),
        pytest.param(
            {"inputs": {"age": [1], "x": [2]}, "signature_name": "s"},
            {"inputs": {"age": REDACTED, "x": [2]}, "signature_name": "s"},
            id="columns",
        ),
        pytest.param(
            {"examples": [{"age": 1}], "context": {"age": 2, "x": 3}},
            {"examples": [{"age": REDACTED}], "context": {"age": REDACTED, "x": 3}},
            id="examples",
        ),
        pytest.param(
            {"inputs": [{**TENSOR, "data": [1]}, OTHER]},
            {"inputs": [{**TENSOR, "data": REDACTED}, OTHER]},
            id="tensors",
        ),
        pytest.param(
            {"inputs": [{**TENSOR, "values": [1]}]},
            {"inputs": [{**TENSOR, "values": REDACTED}]},
            id="a wrong tensor",
        ),
        pytest.param({"instances": [1]}, {"instances": REDACTED}, id="unnamed rows"),
        pytest.param({"inputs": [[1]]}, {"inputs": REDACTED}, id="unnamed columns"),
        pytest.param({"inputs": 1}, {"inputs": REDACTED}, id="an unnamed number"),
        pytest.param(
            {"instances": [{"b64": "AA=="}]}, {"instances": REDACTED}, id="bytes"
        ),
        pytest.param(
            {"instances": [{"x": 1}, 2]}, {"instances": REDACTED}, id="some unnamed"
        ),
        pytest.param([{"age": 1}], [{"age": REDACTED}], id="no object"),
        pytest.param({"name": ["age"]}, {"name": ["age"]}, id="no name"),
    ],
)
def test_requests(document: Any, left: Any) -> None:
    assert Redaction(names=AGE).request(document) == left


def test_values_of_the_only_input_are_kept_if_it_is_another() -> None:
    document = {"instances": [1, 2]}

    assert Redaction(names=AGE, unnamed=False).request(document) == document


@pytest.mark.parametrize(
    ("document", "left"),
    [
        (
            {"predictions": [{"age": 1, "y": 2}]},
            {"predictions": [{"age": REDACTED, "y": 2}]},
        ),
        ({"predictions": [1]}, {"predictions": [1]}),
        (
            {"outputs": [{**TENSOR, "data": [1]}]},
            {"outputs": [{**TENSOR, "data": REDACTED}]},
        ),
        ({"error": "42 is no age"}, {"error": REDACTED}),
    ],
)
def test_answers(document: Any, left: Any) -> None:
    assert Redaction(names=AGE).response(document) == left


def test_without_names_nothing_is_replaced() -> None:
    document = {"instances": [1], "error": "words"}

    assert Redaction().request(document) is document
    assert Redaction().response(document) is document
