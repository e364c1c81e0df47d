from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from inference import UNNAMED, InvalidRequest, Sampling
from service.codecs.json.numbers import FlatNumbers
from service.codecs.tfserving.request import Form, Options, decode, decode_regular


def plain(value: Any) -> Any:
    return value.lists() if isinstance(value, FlatNumbers) else value


@pytest.mark.parametrize(
    ("body", "form", "inputs"),
    [
        pytest.param(
            {"instances": [[1, 2], [3, 4]]},
            Form.ROWS,
            {UNNAMED: [[1, 2], [3, 4]]},
            id="rows, unnamed",
        ),
        pytest.param(
            {"instances": [{"a": 1, "b": [2]}, {"b": [4], "a": 3}]},
            Form.ROWS,
            {"a": [1, 3], "b": [[2], [4]]},
            id="rows, named",
        ),
        pytest.param(
            {"inputs": [[1, 2]]}, Form.COLUMNS, {UNNAMED: [[1, 2]]}, id="columns"
        ),
        pytest.param({"inputs": 5}, Form.COLUMNS, {UNNAMED: 5}, id="column, scalar"),
        pytest.param(
            {"inputs": {"a": [1], "b": 2}},
            Form.COLUMNS,
            {"a": [1], "b": 2},
            id="columns, named",
        ),
        pytest.param(
            {"instances": [{"b64": "aGVsbG8="}, {"b64": "d29ybGQ="}]},
            Form.ROWS,
            {UNNAMED: [b"hello", b"world"]},
            id="tfs 51",
        ),
        pytest.param(
            {"instances": [[{"b64": "aGVsbG8="}], [{"b64": "d29ybGQ="}]]},
            Form.ROWS,
            {UNNAMED: [[b"hello"], [b"world"]]},
            id="tfs 52",
        ),
        pytest.param(
            {"inputs": {"b64": "aGk="}},
            Form.COLUMNS,
            {UNNAMED: b"hi"},
            id="column of bytes",
        ),
        pytest.param(
            {"instances": [{"a": {"b64": "aGk="}}]},
            Form.ROWS,
            {"a": [b"hi"]},
            id="bytes in a named row",
        ),
        pytest.param(
            {"instances": [{"inputs": 1}, {"inputs": 2}]},
            Form.ROWS,
            {"inputs": [1, 2]},
            id="rows of an input called inputs",
        ),
        pytest.param(
            {"inputs": {"inputs": [1], "instances": ["inputs"]}},
            Form.COLUMNS,
            {"inputs": [1], "instances": ["inputs"]},
            id="columns of inputs called inputs and instances",
        ),
        pytest.param(
            {"inputs": [], "parameters": {}}, Form.COLUMNS, {UNNAMED: []}, id="no rows"
        ),
    ],
)
def test_decode(body: Any, form: Form, inputs: dict[str, Any]) -> None:
    call = decode(orjson.dumps(body))

    assert call.form is form
    assert {name: plain(value) for name, value in call.inputs.items()} == inputs
    assert call.signature is None


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        pytest.param("predict_images", "predict_images", id="named"),
        pytest.param("", None, id="empty is the default"),
    ],
)
def test_decode_signature(name: str, signature: str | None) -> None:
    body = orjson.dumps({"signature_name": name, "instances": [1]})

    assert decode(body).signature == signature


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"instances": [[1.5], [2.5]]}, id="rows"),
        pytest.param({"instances": ["a", "b"]}, id="rows of texts"),
        pytest.param({"inputs": {"x": [[1.5]]}}, id="columns"),
        pytest.param({"inputs": ["a", "b"]}, id="columns of texts"),
    ],
)
def test_outputs_are_read_beside_values(body: dict[str, Any]) -> None:
    asked = orjson.dumps({"outputs": ["pool", "block/conv@1"], **body})
    call = decode(asked)
    alone = decode(orjson.dumps(body))

    assert call.options.outputs == ("pool", "block/conv@1")
    assert alone.options.outputs is None
    assert {k: plain(v) for k, v in call.inputs.items()} == {
        k: plain(v) for k, v in alone.inputs.items()
    }


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"outputs": ["a"]}, id="outputs"),
        pytest.param({"top_k": 5}, id="the best"),
        pytest.param({"batch_size": 32, "verbose": 0, "steps": None}, id="ignored"),
    ],
)
def test_options_dont_slow_the_reading_of_numbers(keys: dict[str, Any]) -> None:
    assert decode_regular(orjson.dumps({"instances": [[1.5]], **keys})) is not None


def test_arguments_of_keras_predict_are_ignored_and_named() -> None:
    call = decode(b'{"inputs": [1], "verbose": "auto", "batch_size": 32}')

    assert call.options.ignored == ("batch_size", "verbose")
    assert plain(call.inputs[UNNAMED]) == [1]


@pytest.mark.parametrize(
    ("keys", "sampling"),
    [
        pytest.param({"training": True}, Sampling(training=True), id="on"),
        pytest.param(
            {"training": False, "seed": None}, Sampling(training=False), id="off"
        ),
        pytest.param(
            {"samples": 20, "seed": 7}, Sampling(samples=20, seed=7), id="samples"
        ),
        pytest.param(
            {"samples": 20, "all_samples": True},
            Sampling(samples=20, keep=True),
            id="all samples",
        ),
    ],
)
@pytest.mark.parametrize("value", [[[1.5]], ["a"]], ids=["fast", "slow"])
def test_dropout_is_read_beside_values(
    value: Any, keys: dict[str, Any], sampling: Sampling
) -> None:
    call = decode(orjson.dumps({"instances": value, **keys}))

    assert call.options.sampling == sampling


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"training": 1}, "'training' must be true or false, got 1"),
        ({"all_samples": "yes", "samples": 1}, "'all_samples' must be true or false"),
        ({"all_samples": True}, "says nothing without a number of 'samples'"),
        ({"samples": 0}, "'samples' must be a whole number from 1 to 1000, got 0"),
        ({"samples": 1001}, "from 1 to 1000, got 1001"),
        ({"samples": True}, "from 1 to 1000, got true"),
        ({"samples": [1]}, "from 1 to 1000, got [1]"),
        ({"seed": -1}, "'seed' must be a whole number from 0 to 9007199254740991"),
        ({"seed": 2**53}, "to 9007199254740991, got 9007199254740992"),
        ({"seed": 1.5}, "to 9007199254740991, got 1.5"),
    ],
)
def test_wrong_words_about_dropout_are_refused(
    keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        decode(orjson.dumps({"instances": [[1.5]], **keys}))


def test_inputs_may_be_called_like_options() -> None:
    call = decode(b'{"inputs": {"batch_size": 1, "top_k": 2, "outputs": 3}}')

    assert call.inputs == {"batch_size": 1, "top_k": 2, "outputs": 3}
    assert call.options == Options()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(
            b'{"instances": [1], "outputs": "pool"}',
            "'outputs' must be a list of 1 to 1024 names",
            id="outputs as text",
        ),
        pytest.param(
            b'{"instances": [1], "outputs": []}', "'outputs' must be", id="no outputs"
        ),
        pytest.param(
            b'{"instances": [1], "outputs": ["a", 1]}', "got [", id="a number"
        ),
        pytest.param(
            b'{"inputs": 1, "outputs": ["a"], "outputs": ["b"]}',
            'key "outputs" is there twice',
            id="outputs twice",
        ),
        *(
            pytest.param(
                b'{"instances": [1], "top_k": %b}' % k.encode(),
                f"'top_k' must be a whole number of classes, 1 or more, got {k}",
                id=f"the best {k}",
            )
            for k in ("0", "-1", "2.5", "true", '"5"', "[5]")
        ),
        pytest.param(b"", "JSON Parse error: The document is empty", id="tfs 22"),
        pytest.param(b"instances = [1, 2]", "Invalid value. at offset: 0", id="23"),
        pytest.param(
            b'{"signature_name": 100}',
            "JSON Value: 100 not formatted correctly. 'signature_name' key must be a"
            " string value.",
            id="26",
        ),
        pytest.param(
            b'{"signature_name": [[1]], "instances": [1]}',
            "'signature_name' key must be a string",
            id="81",
        ),
        pytest.param(
            b'{"signature_name": %b%b, "inputs": 1}' % (b"[" * 900, b"]" * 900),
            "'signature_name' key must be a string value",
            id="43",
        ),
        pytest.param(
            b'{"instances": [1], "inputs": [1]}',
            "Not formatted correctly expecting only one of 'inputs' or 'instances'"
            " keys to exist",
            id="57",
        ),
        pytest.param(
            b'[{"a": 1}, [1]]', "Is not object: send {", id="an array at the top"
        ),
        pytest.param(b"[1]", "JSON Value: [1] Is not object", id="104"),
        pytest.param(
            b'{"instances": [{"a": 1}, [2]]}',
            "Expecting object but got list at item 1 of input list",
            id="64",
        ),
        pytest.param(
            b'{"instances": [{"a": 1}, 2]}',
            "Expecting object but got 2 at item 1",
            id="object, then value",
        ),
        pytest.param(
            b'{"instances": [1, 2, {"a": 1}]}',
            "Expecting value or list but got object at item 2",
            id="value, then object",
        ),
        pytest.param(
            b'{"instances": []}', "No values in 'instances' array", id="92, empty"
        ),
        pytest.param(
            b'{"instances": 5}',
            "Expecting 'instances' to be an list/array, got 5",
            id="92, a number",
        ),
        pytest.param(
            b"{}", "Missing 'inputs' or 'instances' key: got no keys", id="92, neither"
        ),
        pytest.param(
            b'{"data": [1]}', "'instances' key: got [\"data\"]", id="other keys"
        ),
        pytest.param(
            b'{"instances": [{"a": 1, "b": 2}, {"a": 1}]}',
            "Failed to process element: 1 of 'instances' list. It has [\"a\"], but keys"
            ' must be equal to: ["a","b"]',
            id="rows of other keys",
        ),
        pytest.param(
            b'{"instances": [{"b64": "***"}]}', "Unable to base64 decode", id="base64"
        ),
        pytest.param(
            b'{"inputs": [1], "inputs": [2]}', 'key "inputs" is there twice', id="twice"
        ),
        pytest.param(
            b'{"instances": [{"inputs": 1}], "instances": [{"inputs": 1}]}',
            'key "instances" is there twice',
            id="twice, with an input of such a name",
        ),
        pytest.param(
            b'{"signature_name": "a", "signature_name": "b", "inputs": 1}',
            'key "signature_name" is there twice',
            id="signature twice",
        ),
        pytest.param(
            b'{"inputs": {"a": [1], "b": [2], "a": [3]}}',
            'key "a" is there twice',
            id="an input twice",
        ),
        pytest.param(
            b'{"instances": [{"a": [1]}, {"a": [1], "a": [2]}]}',
            'key "a" is there twice',
            id="an input twice in a row",
        ),
        pytest.param(
            b'{"instances": [{"b64": "aGk=", "b64": "aGk="}]}',
            'key "b64" is there twice',
            id="bytes twice",
        ),
    ],
)
def test_decode_refuses(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=re.escape(message)):
        decode(body)


@pytest.mark.parametrize("value", [[[1.5]], ["a"]], ids=["fast", "slow"])
@pytest.mark.parametrize("form", ["instances", "inputs"])
@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("signature", 'did you mean "signature_name"?'),
        ("signatureName", 'did you mean "signature_name"?'),
        ("output", 'did you mean "outputs"?'),
        ("output_filter", 'did you mean "outputs"?'),
        ("topk", 'did you mean "top_k"?'),
        ("sample", 'did you mean "samples"?'),
        ("instance", 'did you mean "instances"?'),
        ("parameters", "send the options themselves beside the values"),
        ("params", "send the options themselves beside the values"),
        ("zzz", "the keys are instances, inputs, signature_name, outputs, "),
        ("", "the keys are instances, inputs, signature_name, outputs, "),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest(
    value: Any, form: str, key: str, text: str
) -> None:
    body = orjson.dumps({form: value, key: {"k": 3}})

    with pytest.raises(InvalidRequest) as caught:
        decode(body)

    assert f"there is no key \"{key}\" beside '{form}'" in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize("key", ["instance", "Instances", "input"])
def test_a_misspelt_form_is_named(key: str) -> None:
    with pytest.raises(InvalidRequest, match='did you mean "in'):
        decode(orjson.dumps({key: [[1.5]]}))


def test_right_keys_are_no_advice() -> None:
    with pytest.raises(InvalidRequest, match="ends with :classify or :regress"):
        decode(b'{"signature_name": "s", "context": {}, "examples": [{"x": 1}]}')


@pytest.mark.parametrize("value", [None, {}])
def test_parameters_that_ask_for_nothing_are_taken(value: Any) -> None:
    """Vertex AI's clients send them beside the rows."""
    call = decode(orjson.dumps({"instances": [[1.5]], "parameters": value}))

    assert call.options == Options()


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_a_body_of_the_other_protocol_is_told(form: str) -> None:
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    body = {form: [tensor], "outputs": [{"name": "y"}], "id": "1"}

    with pytest.raises(InvalidRequest, match=r'Protocol \(v2\).*{"inputs": {"x": '):
        decode(orjson.dumps(body))
