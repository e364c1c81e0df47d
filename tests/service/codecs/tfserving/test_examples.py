"""TensorFlow Serving's conformance cases of classify and regress, by number."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest

from inference import InputMismatch, InvalidRequest, Signature, TensorSpec, bind
from service.codecs.tfserving.examples import (
    Method,
    bind_examples,
    decode_examples,
    encode_results,
    labelled_classes,
    output_names,
    serialize,
)
from tests.support.specs import spec

CLASSIFY, REGRESS = Method.CLASSIFY, Method.REGRESS
NAN, INF = float("nan"), float("inf")
EXAMPLES = spec("inputs", "string", (None,))


def signature(
    *inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), method: str = "predict"
) -> Signature:
    return Signature(
        name="main",
        inputs={each.name: each for each in inputs},
        outputs={each.name: each for each in outputs or (spec("y"),)},
        method=method,
    )


@pytest.mark.parametrize(
    ("body", "examples"),
    [
        pytest.param(
            {
                "examples": [
                    {"names": ["foo", "bar"], "ratings": [8.0, 9.0], "age": 20},
                    {"names": ["baz"], "ratings": 6.0},
                ]
            },
            [
                {"names": ["foo", "bar"], "ratings": [8.0, 9.0], "age": [20]},
                {"names": ["baz"], "ratings": [6.0]},
            ],
            id="79",
        ),
        pytest.param(
            {"context": {"q": 1, "x": 5}, "examples": [{"x": 2}, {}]},
            [{"q": [1], "x": [2]}, {"q": [1], "x": [5]}],
            id="context, which an example overrides",
        ),
        pytest.param(
            {"examples": [{"image": {"b64": "/w=="}}]},
            [{"image": [b"\xff"]}],
            id="base64",
        ),
        pytest.param({"examples": [{}]}, [{}], id="no feature"),
    ],
)
def test_decode(body: Any, examples: Any) -> None:
    assert decode_examples(orjson.dumps(body), REGRESS).examples == examples


def test_the_signature_is_read_beside_examples() -> None:
    body = b'{"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}'

    assert decode_examples(body, REGRESS).signature == "regress_x_to_y"  # 33


def test_features_may_be_infinite_or_no_numbers() -> None:
    body = b'{"examples": [{"x": [NaN, Infinity, -Infinity, Inf, 1.0]}]}'

    (example,) = decode_examples(body, CLASSIFY).examples

    np.testing.assert_array_equal(example["x"], [NAN, INF, -INF, INF, 1])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "JSON Parse error: The document is empty", id="empty"),
        pytest.param(b"[1]", "JSON Value: [1] Is not object", id="104"),
        pytest.param(
            b'{"signature_name":[5],"examples":[{}]}',
            "'signature_name' key must be a string",
            id="81",
        ),
        pytest.param(
            b'{"context":[1],"examples":[{}]}', "Example must be JSON object", id="82"
        ),
        pytest.param(b'{"examples":{"x":1}}', "to be an list/array", id="83"),
        pytest.param(
            b'{"examples":[[{"x":1}]]}', "Example must be JSON object", id="84"
        ),
        pytest.param(
            b'{"examples":[{"names":[10,null]}]}', "unexpected JSON type: Null", id="85"
        ),
        pytest.param(
            b'{"examples":[{"names":[10,{"test":10}]}]}', "JSON type: Object", id="87"
        ),
        pytest.param(
            b'{"examples":[{"names":[[10],20]}]}', "JSON type: Array", id="87, a list"
        ),
        pytest.param(
            b'{"instances":[1]}',
            "When method is classify, key 'examples' is expected and was not found",
            id="without examples",
        ),
        pytest.param(
            b'{"examples":[]}', "'examples' value is an empty array", id="no example"
        ),
        pytest.param(
            b'{"examples":[{"names":[1,"a"]}]}',
            "Unexpected element type in feature: names expecting type: int64",
            id="mixed kinds",
        ),
        pytest.param(
            b'{"examples":[{"x":[1,2.5]}]}',
            "feature: x expecting type: int64, got float",
            id="whole numbers beside fractions",
        ),
        pytest.param(
            b'{"examples":[{}],"examples":[{}]}', "twice in one object", id="twice"
        ),
        pytest.param(
            b'{"examples":[{"x":1,"x":2}]}', 'key "x" is there twice', id="twice in one"
        ),
        pytest.param(
            b'{"examples":[{}],"contxt":{}}',
            'no key "contxt" beside \'examples\': did you mean "context"?',
            id="a misspelt key",
        ),
        pytest.param(
            b'{"examples":[{}],"instances":[1]}',
            "that is for a URL that ends with :predict",
            id="a key of predict",
        ),
    ],
)
def test_decode_refuses(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match="^") as refused:
        decode_examples(body, CLASSIFY)

    assert message in str(refused.value)


def test_a_feature_of_more_than_63_bits_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Only int64_t is supported"):
        serialize({"names": [2**63]})


@pytest.mark.parametrize(
    ("shape", "values", "row"),
    [
        pytest.param((None,), [2.0], 2.0, id="scalar"),
        pytest.param((None, 3), [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], id="vector"),
        pytest.param((None, 1), [2.0], [2.0], id="vector of one"),
        pytest.param((None, None), [1.0, 2.0], [1.0, 2.0], id="any length"),
        pytest.param((None, 2, 2), [1, 2, 3, 4], [[1, 2], [3, 4]], id="matrix"),
        pytest.param(None, [1.0], 1.0, id="unknown rank"),
    ],
)
def test_features_become_rows_of_inputs(shape: Any, values: Any, row: Any) -> None:
    inputs = bind_examples(signature(spec("x", shape=shape)), [{"x": values}] * 2)

    assert inputs == {"x": [row, row]}


def test_strings_become_rows_by_their_input_name() -> None:
    one = signature(spec("text", "string", (None,)))

    bound = bind(one, bind_examples(one, [{"text": ["a"]}, {"text": ["b"]}]))

    assert bound["text"].tolist() == [b"a", b"b"]


@pytest.mark.parametrize("method", ["predict", "classify", "regress"])
def test_a_single_string_input_that_no_example_names_takes_serialized_ones(
    method: str,
) -> None:
    bound = bind_examples(signature(EXAMPLES, method=method), [{"x": [1.0]}])

    assert bound["inputs"].tolist() == [serialize({"x": [1.0]})]


def test_a_declared_method_takes_serialized_examples_of_any_name() -> None:
    bound = bind_examples(signature(EXAMPLES, method="regress"), [{"inputs": [1.0]}])

    assert bound["inputs"].tolist() == [serialize({"inputs": [1.0]})]


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        pytest.param(
            [{"x": [1.0]}, {}], "element 1 of 'examples' has no", id="lacking"
        ),
        pytest.param(
            [{"x": [1.0]}, {"x": [1.0, 2.0]}],
            "feature 'x' of element 1 of 'examples' has 2 values",
            id="too many values",
        ),
        pytest.param([{"z": [1.0]}], "does not have named input: z", id="unknown"),
    ],
)
def test_features_that_make_no_input_are_refused(examples: Any, message: str) -> None:
    one = signature(spec("x", shape=(None,)))

    with pytest.raises(InputMismatch, match=message):
        bind(one, bind_examples(one, examples))


def test_classifications_have_labels_and_scores() -> None:
    outputs = {
        "classes": np.array([[b"car", b"bike", b"bus"]] * 2, object),
        "scores": np.array([[0.2, 0.7, 0.1]] * 2, np.float32),
    }

    row = b'[["car",0.2],["bike",0.7],["bus",0.1]]'
    assert encode_results(outputs, CLASSIFY, 2) == (  # 89
        b'{"results":[' + row + b"," + row + b"]}"
    )


@pytest.mark.parametrize(
    ("outputs", "results"),
    [
        pytest.param({"scores": np.array([[12.0]])}, [[["", 12.0]]], id="35"),
        pytest.param(
            {"classes": np.array([[b"a"]], object)}, [[["a", 0.0]]], id="no scores"
        ),
        pytest.param({"y": np.array([[1.5, 2.0]])}, [[["", 1.5], ["", 2.0]]], id="y"),
        pytest.param(
            {"classes": np.array([[1, 0]]), "scores": np.array([[0.75, 0.25]])},
            [[["1", 0.75], ["0", 0.25]]],
            id="indices",
        ),
    ],
)
def test_classifications_without_labels_or_scores(outputs: Any, results: Any) -> None:
    text = encode_results(outputs, CLASSIFY, 1)

    assert orjson.loads(text) == {"results": results}


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_regressions_are_a_flat_list(shape: Any) -> None:
    """TensorFlow Serving's conformance case 90."""
    array = np.array([0.2, INF, 1, -INF, NAN], np.float32).reshape(shape)

    text = encode_results({"outputs": array}, REGRESS, 5)

    assert text == b'{"results":[0.2,Infinity,1.0,-Infinity,NaN]}'


@pytest.mark.parametrize(
    ("outputs", "method", "message"),
    [
        pytest.param(
            {"scores": np.zeros((1, 0))},
            CLASSIFY,
            "empty ClassificationResults",
            id="91",
        ),
        pytest.param(
            {"outputs": np.zeros(0)},
            REGRESS,
            "empty RegressionResults",
            id="91, regress",
        ),
        pytest.param(
            {"y": np.zeros((1, 2))},
            REGRESS,
            r"shape \[1\] or \[1, 1\]",
            id="a row each",
        ),
        pytest.param(
            {"y": np.zeros(1)}, CLASSIFY, r"shape \[1, \?\]", id="no row each"
        ),
        pytest.param({"y": np.zeros((2, 2))}, CLASSIFY, "use :predict", id="more rows"),
        pytest.param(
            {"classes": np.array([[b"a"]], object), "scores": np.zeros((1, 2))},
            CLASSIFY,
            "a score for each class",
            id="more scores than classes",
        ),
    ],
)
def test_outputs_that_are_no_results_are_refused(
    outputs: Any, method: Method, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        encode_results(outputs, method, 1)


def test_the_outputs_of_a_method_are_found_by_name() -> None:
    names = ("classes", "extra", "outputs", "scores")
    one = signature(EXAMPLES, outputs=tuple(map(spec, names)))

    assert output_names(one, CLASSIFY) == ("classes", "scores")
    assert output_names(one, REGRESS) == ("outputs",)


def test_several_outputs_of_other_names_are_refused() -> None:
    one = signature(EXAMPLES, outputs=(spec("a"), spec("b")))

    with pytest.raises(InvalidRequest, match="regress needs 'outputs' among"):
        output_names(one, REGRESS)


def test_the_engine_names_the_classes_of_scores_that_have_no_names() -> None:
    one = signature(spec("x"), outputs=(spec("y", shape=(None, 10)),))

    assert labelled_classes(one, CLASSIFY) == 10
    assert labelled_classes(one, REGRESS) is None
