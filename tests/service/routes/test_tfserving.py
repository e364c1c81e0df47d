"""TensorFlow Serving's conformance cases, by number, where this server has the route.

Deliberate differences: answers are compact; wrong methods are 405, unknown URLs 404; a
model that is loading or has failed is 503, not 404; text after the JSON value and
shapes that don't fit the signature are refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference import ModelState
from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel, X, signature, tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Array, Signature

HALF = FakeModel(version=123)


def fixed(**outputs: Array) -> FakeModel:
    """Return a model with one input `x` of any kind that always answers `outputs`."""
    return FakeModel(
        signatures=(signature(tensor("x"), outputs=tuple(outputs)),),
        function=lambda inputs: outputs,
    )


def echo(of: Signature) -> FakeModel:
    def function(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {f"{name}_out": array for name, array in inputs.items()}

    return FakeModel(signatures=(of,), function=function)


def typed(dtype: str) -> FakeModel:
    return echo(signature(tensor("x", dtype)))


async def predict(model: FakeModel, body: Any, path: str = "half") -> Any:
    async with make_client(FakeEngine(model)) as client:
        url = f"/v1/models/{path}:predict"
        if isinstance(body, bytes):
            return await client.post(url, content=body)

        return await client.post(url, json=body)


@pytest.mark.parametrize(
    ("model", "path", "body", "answer"),
    [
        pytest.param(
            HALF,
            "half",
            {"instances": [[1.0, 2.0], [3.0, 4.0]]},
            {"predictions": [[2.5, 3.0], [3.5, 4.0]]},
            id="27",
        ),
        pytest.param(
            HALF,
            "half/versions/123",
            {"instances": [1.0, 2.0]},
            {"predictions": [2.5, 3.0]},
            id="28",
        ),
        pytest.param(
            HALF,
            "half",
            {"signature_name": "serving_default", "instances": [3.0, 4.0]},
            {"predictions": [3.5, 4.0]},
            id="30",
        ),
        pytest.param(
            HALF,
            "half",
            {"signature_name": "serving_default", "inputs": [3.0, 4.0]},
            {"outputs": [3.5, 4.0]},
            id="31",
        ),
        pytest.param(
            typed("int32"),
            "half",
            {"instances": [[1, 2], [3, 4], [5, 6]]},
            {"predictions": [[1, 2], [3, 4], [5, 6]]},
            id="41",
        ),
        pytest.param(
            typed("float32"),
            "half",
            {"instances": [1, 2.0, 3, 4, 5.003, 0.007, 0.0]},
            {"predictions": [1.0, 2.0, 3.0, 4.0, 5.003, 0.007, 0.0]},
            id="44",
        ),
        pytest.param(
            typed("float32"),
            "half",
            {"instances": [2.2e-308, -2.2e-308]},
            {"predictions": [0.0, 0.0]},
            id="48",
        ),
        pytest.param(
            typed("string"),
            "half",
            {"instances": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]},
            {"predictions": [["hello"], ["world"]]},
            id="52",
        ),
        pytest.param(
            echo(
                signature(
                    tensor("int_tensor", "int32"),
                    tensor("str_tensor", "string"),
                    tensor("double_tensor", "float64"),
                )
            ),
            "half",
            {
                "instances": [
                    {"int_tensor": [1, 2], "str_tensor": ["a"], "double_tensor": 1.5},
                    {"int_tensor": [3, 4], "str_tensor": ["b"], "double_tensor": 2.5},
                ]
            },
            {
                "predictions": [
                    {
                        "int_tensor_out": [1, 2],
                        "str_tensor_out": ["a"],
                        "double_tensor_out": 1.5,
                    },
                    {
                        "int_tensor_out": [3, 4],
                        "str_tensor_out": ["b"],
                        "double_tensor_out": 2.5,
                    },
                ]
            },
            id="54",
        ),
        pytest.param(
            echo(signature(tensor("int_tensor", "int32"))),
            "half",
            {"inputs": {"int_tensor": [[[1, 2], [3, 4], [5, 6]]]}},
            {"outputs": [[[1, 2], [3, 4], [5, 6]]]},
            id="55",
        ),
        pytest.param(
            fixed(str_tensor_bytes=np.array([[b"tf"], [b"serving"]], object)),
            "half",
            {"instances": [1]},
            {"predictions": [[{"b64": "dGY="}], [{"b64": "c2VydmluZw=="}]]},
            id="68",
        ),
        pytest.param(
            fixed(a=np.array(1, np.int32), b=np.ones((1, 2), np.int32)),
            "half",
            {"inputs": [1]},
            {"outputs": {"a": 1, "b": [[1, 1]]}},
            id="75",
        ),
        pytest.param(
            HALF,
            "half",
            {"instances": [2.0, 3.0, 4.0]},
            {"predictions": [3.0, 3.5, 4.0]},
            id="32",
        ),
        pytest.param(
            HALF,
            "half",
            {"inputs": [2.0, 3.0, 4.0]},
            {"outputs": [3.0, 3.5, 4.0]},
            id="32, in columns",
        ),
        pytest.param(
            typed("float64"),
            "half",
            {"instances": [1, 2.0, 3, 4, 5.003, 0.007, 0.0]},
            {"predictions": [1.0, 2.0, 3.0, 4.0, 5.003, 0.007, 0.0]},
            id="45",
        ),
        pytest.param(
            replace(HALF, signatures=(replace(X, name="predict_images"),)),
            "half",
            {"signature_name": "predict_images", "instances": [[1, 2]]},
            {"predictions": [[2.5, 3.0]]},
            id="49",
        ),
        pytest.param(
            typed("string"),
            "half",
            {"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]},
            {"predictions": ["hello", "world"]},
            id="51",
        ),
        pytest.param(
            echo(signature(tensor("int_tensor", "int32"))),
            "half",
            {"inputs": [[[1, 2], [3, 4], [5, 6]]]},
            {"outputs": [[[1, 2], [3, 4], [5, 6]]]},
            id="55, without a name",
        ),
        pytest.param(
            fixed(y=np.arange(12, dtype=np.int32).reshape(2, 3, 2)),
            "half",
            {"instances": [1]},
            {"predictions": np.arange(12).reshape(2, 3, 2).tolist()},
            id="66",
        ),
        pytest.param(
            fixed(y=np.arange(12, dtype=np.int32).reshape(2, 3, 2)),
            "half",
            {"inputs": [1]},
            {"outputs": np.arange(12).reshape(2, 3, 2).tolist()},
            id="66, in columns",
        ),
        pytest.param(
            fixed(y=np.arange(1, 6, dtype=np.int32)),
            "half",
            {"instances": [1]},
            {"predictions": [1, 2, 3, 4, 5]},
            id="67",
        ),
        pytest.param(
            fixed(a=np.zeros((0, 2)), b=np.zeros((0, 2))),
            "half",
            {"instances": [1]},
            {"predictions": []},
            id="77, several",
        ),
        pytest.param(
            fixed(y=np.zeros((0, 2), np.float32)),
            "half",
            {"instances": [1]},
            {"predictions": []},
            id="77",
        ),
    ],
)
async def test_predict(model: FakeModel, path: str, body: Any, answer: Any) -> None:
    response = await predict(model, body, path)

    assert response.json() == answer
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["half", "half/versions/1", "half/labels/old"])
async def test_an_answer_names_its_version_and_where_the_time_went(path: str) -> None:
    old = FakeModel(version=1, labels=("old",))
    async with make_client(FakeEngine(old, HALF)) as client:
        response = await client.post(f"/v1/models/{path}:predict", json={"inputs": [1]})
        refused = await client.post(f"/v1/models/{path}:predict", json={"inputs": "a"})

    parts = [
        each.split(";dur=") for each in response.headers["Server-Timing"].split(", ")
    ]
    assert response.headers["X-Model-Version"] == ("123" if path == "half" else "1")
    assert [name for name, _ in parts] == ["queue", "decode", "compute", "encode"]
    assert all(float(milliseconds) >= 0 for _, milliseconds in parts)
    assert "X-Model-Version" not in refused.headers


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
async def test_numbers_that_are_not_finite_are_taken(dtype: str) -> None:
    body = b'{"instances": [NaN, -NaN, Inf, Infinity, -Inf, -Infinity, 0.5]}'

    response = await predict(typed(dtype), body)  # 54, 100

    assert response.content == (
        b'{"predictions":[NaN,NaN,Infinity,Infinity,-Infinity,-Infinity,0.5]}'
    )


async def test_non_finite_numbers_are_bare_tokens() -> None:
    """TensorFlow Serving's conformance case 70."""
    values = np.array([np.nan, np.inf, 3, -np.inf], np.float32)

    response = await predict(fixed(y=values), {"instances": [1]})

    assert response.content == b'{"predictions":[NaN,Infinity,3.0,-Infinity]}'


@pytest.mark.parametrize(
    ("model", "body", "message"),
    [
        pytest.param(HALF, b"", "JSON Parse error: The document is empty", id="22"),
        pytest.param(
            HALF,
            b"instances = [1, 2]",
            "JSON Parse error: Invalid value. at offset: 0",
            id="23",
        ),
        pytest.param(
            HALF,
            {"signature_name": 100, "instances": [1]},
            "'signature_name' key must be a string value.",
            id="26",
        ),
        pytest.param(
            HALF,
            {"signature_name": "other", "instances": [1]},
            'Serving signature name: "other" not found in signature def',
            id="an unknown signature",
        ),
        pytest.param(
            HALF, {"instances": [1], "inputs": [1]}, "Not formatted correctly", id="57"
        ),
        pytest.param(
            HALF,
            {"instances": [[1, 2], [3, 4], [5, 6, 7]]},
            "at [2] is ragged: Expecting tensor size: 2 but got: 3",
            id="58",
        ),
        pytest.param(
            HALF,
            {"instances": [1, [1]]},
            "Expecting shape [] but got: [1]",
            id="60",
        ),
        pytest.param(
            typed("int32"),
            {"instances": [[1, 2], ["a", "b"]]},
            "not of expected type: int32",
            id="61",
        ),
        pytest.param(
            HALF,
            {"instances": [{"x": [1, 2]}, {"x": [3]}]},
            "Expecting tensor size",
            id="63",
        ),
        pytest.param(
            HALF,
            {"instances": [{"x": 1}, [1]]},
            "Expecting object but got list at item 1 of input list",
            id="64",
        ),
        pytest.param(
            fixed(y=np.zeros(1, np.complex64)),
            {"instances": [1]},
            "tensor type: complex64",
            id="72",
        ),
        pytest.param(
            fixed(y=np.array(1.0)), {"instances": [1]}, "no shape information", id="73"
        ),
        pytest.param(
            fixed(a=np.zeros(2), b=np.zeros(1)),
            {"instances": [1]},
            "inconsistent batch size",
            id="76",
        ),
        pytest.param(
            HALF, {"instances": []}, "No values in 'instances' array", id="92"
        ),
        pytest.param(
            echo(signature(tensor("a"), tensor("b"))),
            {"instances": [1]},
            "wants several inputs",
            id="93",
        ),
        pytest.param(
            echo(signature(tensor("a"), tensor("b"))),
            {"instances": [{"a": 1, "b": 2, "c": 3}]},
            "does not have named input: c",
            id="95",
        ),
        pytest.param(
            HALF,
            b'{"signature_name": %b%b, "instances": [1]}' % (b"[" * 500, b"]" * 500),
            "key must be a string value",
            id="43, as deep as is read",
        ),
        pytest.param(
            HALF,
            b'{"signature_name": %b%b}' % (b"[" * 500_000, b"]" * 500_000),
            "depth limit",
            id="43, deeper",
        ),
        pytest.param(HALF, {}, "Missing 'inputs' or 'instances' key", id="92, neither"),
        pytest.param(HALF, {"instances": 5}, "to be an list/array", id="92, no list"),
        pytest.param(
            HALF,
            {"instances": [[1, [2]]]},
            "list at unexpected level: 1 expected < 1",
            id="98",
        ),
        pytest.param(
            HALF,
            {"instances": [[[1], 2]]},
            "found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
            id="98, a list first",
        ),
        pytest.param(HALF, b" ", "The document is empty. at offset: 1", id="103"),
        pytest.param(HALF, b"[1]", "JSON Value: [1] Is not object", id="104"),
        pytest.param(fixed(), {"instances": [1]}, "empty tensor map", id="71"),
        pytest.param(
            HALF, b'{"instances": [1]} trailing', "unexpected content", id="trailing"
        ),
        pytest.param(
            typed("int32"),
            b'{"instances": [1, NaN]}',
            "not of expected type: int32",
            id="NaN among integers",
        ),
        pytest.param(HALF, b"[" * 100_000, "depth limit", id="deep nesting"),
        pytest.param(
            echo(signature(tensor("x", shape=(None, 32)))),
            {"instances": [[0.0] * 31]},
            "input 'x' wants shape [?, 32], got [1, 31]",
            id="shape",
        ),
    ],
)
async def test_predict_refuses(model: FakeModel, body: Any, message: str) -> None:
    async with make_client(FakeEngine(model, FakeModel(name="next"))) as client:
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        response = await client.post("/v1/models/half:predict", **content)
        next_one = await client.post("/v1/models/next:predict", json={"inputs": 1})

    assert response.status_code == 400
    assert response.json().keys() == {"error"}
    assert message in response.json()["error"]
    assert next_one.json() == {"outputs": 2.5}


async def test_doubles_beyond_a_narrow_dtype_are_infinite() -> None:
    """TensorFlow Serving's conformance case 47."""
    body = b'{"instances": [1.7976931348623157e308, -1.7976931348623157e308]}'

    response = await predict(typed("float32"), body)

    assert response.content == b'{"predictions":[Infinity,-Infinity]}'


FEATURE = signature(tensor("x", shape=(None,)), outputs=("outputs",), name="regress")
SCORES = signature(tensor("x", shape=(None, 1)), outputs=("scores",), name="classify")
EXAMPLES = FakeModel(
    version=123,
    labels=("stable",),
    signatures=(FEATURE, replace(SCORES, method="classify")),
    function=lambda inputs: dict.fromkeys(
        ("outputs", "scores"), inputs["x"] * np.float32(0.5) + np.float32(2)
    ),
)


@pytest.mark.parametrize("path", ["half", "half/versions/123", "half/labels/stable"])
@pytest.mark.parametrize(
    ("method", "x", "results"),
    [
        pytest.param("regress", 80.0, [42.0], id="33"),
        pytest.param("regress", 2.0, [3.0], id="34"),
        pytest.param("classify", 20.0, [[["", 12.0]]], id="35"),
        pytest.param("classify", 10.0, [[["", 7.0]]], id="35, 10"),
    ],
)
async def test_examples(path: str, method: str, x: float, results: Any) -> None:
    body = {"signature_name": method, "examples": [{"x": x}]}

    async with make_client(FakeEngine(EXAMPLES)) as client:
        response = await client.post(f"/v1/models/{path}:{method}", json=body)

    assert response.json() == {"results": results}
    assert response.headers["X-Model-Version"] == "123"


@pytest.mark.parametrize(
    ("names", "labels"),
    [((), ["2", "0", "1"]), (("cat", "dog", "owl"), ["owl", "cat", "dog"])],
    ids=["indices", "names"],
)
async def test_scores_of_any_model_are_labelled_best_first(
    names: tuple[str, ...], labels: list[str]
) -> None:
    of = signature(tensor("x", shape=(None, 3)), name="serving_default")
    model = FakeModel(
        signatures=(replace(of, outputs={"y": tensor("y", shape=(None, 3))}),),
        function=lambda inputs: {"y": inputs["x"]},
        classes=names,
    )
    body = {"examples": [{"x": [0.25, 0.125, 0.5]}]}

    async with make_client(FakeEngine(model)) as client:
        response = await client.post("/v1/models/half:classify", json=body)

    scores = [0.5, 0.25, 0.125]
    wanted = [list(pair) for pair in zip(labels, scores, strict=True)]
    assert response.json() == {"results": [wanted]}


@pytest.mark.parametrize("method", ["classify", "regress"])
async def test_examples_for_an_unknown_model_or_label(method: str) -> None:
    async with make_client(FakeEngine(EXAMPLES)) as client:
        unknown = await client.post(f"/v1/models/foo:{method}", json={})
        label = await client.post(f"/v1/models/half/labels/no:{method}", json={})

    assert (unknown.status_code, label.status_code) == (404, 400)
    assert "Servable not found for request: Latest(foo)" in unknown.json()["error"]
    assert "Unrecognized servable version label" in label.json()["error"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        pytest.param("foo", "Servable not found for request: Latest(foo)", id="19"),
        pytest.param(
            "half/versions/50",
            "Servable not found for request: Specific(half, 50)",
            id="20",
        ),
        pytest.param("HALF99", "Servable not found", id="21"),
        pytest.param(
            "modelname%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D",
            "Latest(modelname!#$%&'()*+,/:;=?@[])",
            id="6, an escaped name",
        ),
        pytest.param(
            f"a%2Fb/versions/{2**63 - 1}",
            f"Specific(a/b, {2**63 - 1})",
            id="6, an escaped name and a version",
        ),
    ],
)
async def test_unknown_models_and_versions(path: str, message: str) -> None:
    response = await predict(HALF, {"instances": [1]}, path)

    assert response.status_code == 404
    assert message in response.json()["error"]


def layered() -> FakeModel:
    """Return a model with the output `y`, and `inner` on request."""
    one = signature(tensor("x"), outputs=("y", "inner"))
    inner = replace(one.outputs["inner"], on_request=True)
    return FakeModel(
        signatures=(replace(one, outputs={**one.outputs, "inner": inner}),),
        function=lambda inputs: {"y": inputs["x"] * 2, "inner": inputs["x"] * 3},
    )


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        pytest.param(
            {"instances": [1.0], "outputs": ["inner"]},
            {"predictions": [3.0]},
            id="rows, one",
        ),
        pytest.param(
            {"instances": [1.0], "outputs": ["y", "inner"]},
            {"predictions": [{"y": 2.0, "inner": 3.0}]},
            id="rows, several",
        ),
        pytest.param(
            {"inputs": [1.0], "outputs": ["inner"]}, {"outputs": [3.0]}, id="columns"
        ),
        pytest.param(
            {"inputs": [1.0], "outputs": ["y", "inner"]},
            {"outputs": {"y": [2.0], "inner": [3.0]}},
            id="columns, several",
        ),
    ],
)
async def test_a_request_names_its_outputs(body: Any, answer: Any) -> None:
    response = await predict(layered(), body)

    assert response.json() == answer


async def test_an_unknown_output_is_refused_with_the_nearest() -> None:
    response = await predict(layered(), {"instances": [1.0], "outputs": ["iner"]})

    assert response.status_code == 400
    assert "no output 'iner'; the nearest are: inner" in response.json()["error"]


def told(*scores: list[float], classes: tuple[str, ...] = ()) -> FakeModel:
    """Return a classifier of `scores`, whatever the input."""
    one = signature(tensor("x"))
    y = replace(one.outputs["y"], shape=(None, len(scores[0])))
    return FakeModel(
        signatures=(replace(one, outputs={"y": y}),),
        function=lambda inputs: {"y": np.array(scores, "float32")},
        classes=classes,
    )


@pytest.mark.parametrize(
    ("classes", "body", "answer"),
    [
        pytest.param(
            ("cat", "dog", "öwl"),
            {"instances": [1], "top_k": 2},
            {"predictions": [{"classes": ["öwl", "cat"], "scores": [0.75, 0.25]}]},
            id="rows, with names",
        ),
        pytest.param(
            (),
            {"instances": [1], "top_k": 1},
            {"predictions": [{"classes": [2], "scores": [0.75]}]},
            id="rows, indices",
        ),
        pytest.param(
            ("cat", "dog", "öwl"),
            {"inputs": [1], "top_k": 3, "outputs": ["y"], "batch_size": 32},
            {
                "outputs": {
                    "classes": [["öwl", "cat", "dog"]],
                    "scores": [[0.75, 0.25, 0.0]],
                }
            },
            id="columns",
        ),
    ],
)
async def test_the_best_classes(
    classes: tuple[str, ...], body: Any, answer: Any
) -> None:
    response = await predict(told([0.25, 0.0, 0.75], classes=classes), body)

    assert response.json() == answer


@pytest.mark.parametrize(
    ("model", "k", "message"),
    [
        pytest.param(
            told([0.5, 0.5]),
            3,
            "must be from 1 to 2, the number of scores",
            id="too many",
        ),
        pytest.param(told([0.5, 0.5]), 0, "must be a whole number", id="none"),
        pytest.param(
            FakeModel(signatures=(signature(tensor("x"), outputs=("a", "b")),)),
            1,
            "is for one output, and this answer has 2",
            id="two outputs",
        ),
    ],
)
async def test_best_classes_that_cant_be_told(
    model: FakeModel, k: int, message: str
) -> None:
    response = await predict(model, {"instances": [1], "top_k": k})

    assert response.status_code == 400
    assert message in response.json()["error"]


async def test_metadata_shows_the_outputs_of_an_answer() -> None:
    async with make_client(FakeEngine(layered())) as client:
        response = await client.get("/v1/models/half/metadata")

    (shown,) = response.json()["metadata"]["signature_def"]["signature_def"].values()
    assert list(shown["outputs"]) == ["y"]


async def test_a_query_string_is_ignored() -> None:
    async with make_client(FakeEngine(HALF)) as client:
        response = await client.post(
            "/v1/models/half:predict?x=1", json={"instances": [1.0]}
        )

    assert response.json() == {"predictions": [2.5]}


async def test_a_loading_model_asks_for_a_retry() -> None:
    model = FakeModel(state=ModelState.LOADING)
    response = await predict(model, {"instances": [1.0]})

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0


async def test_a_broken_model_says_why() -> None:
    model = FakeModel(state=ModelState.END, error="no such layer")
    response = await predict(model, {"instances": [1.0]})

    assert response.status_code == 503
    assert "no such layer" in response.json()["error"]
    assert "Retry-After" not in response.headers
