"""The Open Inference Protocol's conformance cases, by number.

Deliberate differences: a client's mistake is 400, an unknown model 404, a body over the
limit 413, a full queue 429; an output that is listed without `binary_data` takes the
request's `binary_data_output`.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from structlog.testing import capture_logs

from inference import DeadlineExceeded, ModelState
from tests.support.admin import admin_client
from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel, signature, tensor
from tests.support.v2 import LENGTH, as_bytes, binary_body, json_input, outputs_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx

    from inference import Array, Signature

A = np.arange(1, 17, dtype=np.int32).reshape(1, 16)
ONE = np.ones(1, np.float32)
INFER = "/v2/models/{}/infer"


def add_sub(inputs: Mapping[str, Array]) -> dict[str, Array]:
    a, b = inputs["INPUT0"], inputs["INPUT1"]
    return {"OUTPUT0": a + b, "OUTPUT1": a - b}


def outputs_like(spec: Signature, **outputs: tuple[str, Any]) -> Signature:
    made = {k: tensor(k, dtype, shape) for k, (dtype, shape) in outputs.items()}
    return type(spec)(name=spec.name, inputs=spec.inputs, outputs=made)


SIMPLE = FakeModel(
    name="simple",
    signatures=(
        outputs_like(
            signature(
                tensor("INPUT0", "int32", (None, 16)),
                tensor("INPUT1", "int32", (None, 16)),
            ),
            OUTPUT0=("int32", (None, 16)),
            OUTPUT1=("int32", (None, 16)),
        ),
    ),
    function=add_sub,
)


def identity(dtype: str = "float32", shape: Any = None, **fields: Any) -> FakeModel:
    spec = outputs_like(
        signature(tensor("INPUT0", dtype, shape)), OUTPUT0=(dtype, shape)
    )
    return FakeModel(
        name="id1",
        signatures=(spec,),
        function=lambda inputs: {"OUTPUT0": inputs["INPUT0"]},
        **fields,
    )


def both(a: Array = A, **beside: Any) -> dict[str, Any]:
    return {"inputs": [json_input("INPUT0", a), json_input("INPUT1", A)], **beside}


async def ask(
    model: FakeModel, body: Any = None, path: str | None = None, **sent: Any
) -> httpx.Response:
    sent.setdefault("method", "POST")
    if isinstance(body, bytes):
        sent["content"] = body
    elif body is not None:
        sent["json"] = body

    async with make_client(FakeEngine(model)) as client:
        return await client.request(url=path or INFER.format(model.name), **sent)


async def get(path: str, model: FakeModel = SIMPLE) -> httpx.Response:
    return await ask(model, None, path, method="GET")


def error(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.json()["error"]


@pytest.mark.parametrize("which", ["live", "ready"])
async def test_case_1_health(which: str) -> None:
    response = await get(f"/v2/health/{which}")

    assert (response.status_code, response.json()) == (200, {which: True})


async def test_a_server_whose_models_failed_is_alive_and_not_ready() -> None:
    model = FakeModel(error="it is broken", state=ModelState.END)

    assert (await get("/v2/health/live", model)).status_code == 200
    ready = await get("/v2/health/ready", model)
    assert (ready.status_code, ready.json()) == (503, {"ready": False})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "/v2/health/live", id="health"),
        pytest.param("POST", "/v2", id="server"),
        pytest.param("POST", "/v2/models/simple", id="metadata"),
        pytest.param("GET", "/v2/models/simple/infer", id="infer"),
        pytest.param("GET", "/v2/repository/index", id="index"),
    ],
)
async def test_case_2_wrong_method(method: str, path: str) -> None:
    response = await ask(SIMPLE, None, path, method=method)

    assert error(response)[0] == 405


@pytest.mark.parametrize("version", ["abc", "-1", "01", "1.0"])
async def test_case_3_version_that_is_no_number(version: str) -> None:
    response = await ask(SIMPLE, both(), f"/v2/models/simple/versions/{version}/infer")

    assert error(response)[0] == 404


async def test_case_4_model_metadata() -> None:
    response = await get("/v2/models/simple")

    tensors = [{"datatype": "INT32", "shape": [-1, 16]}] * 2
    names = ["PUT0", "PUT1"]
    assert response.json() == {
        "name": "simple",
        "versions": ["1"],
        "platform": "saved_model",
        "inputs": [
            {"name": f"IN{k}", **t} for k, t in zip(names, tensors, strict=True)
        ],
        "outputs": [
            {"name": f"OUT{k}", **t} for k, t in zip(names, tensors, strict=True)
        ],
    }


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
async def test_case_5_server_metadata(path: str) -> None:
    document = (await get(path)).json()

    assert document["name"] == "tandem-serving"
    assert "binary_tensor_data" in document["extensions"]
    assert isinstance(document["version"], str)


async def test_case_6_unknown_model() -> None:
    response = await ask(SIMPLE, both(), "/v2/models/nope/infer")

    status, text = error(response)
    assert status == 404
    assert "nope" in text


async def test_case_7_unknown_version() -> None:
    response = await ask(SIMPLE, both(), "/v2/models/simple/versions/7/infer")

    status, text = error(response)
    assert status == 404
    assert "simple" in text
    assert "7" in text


@pytest.mark.parametrize("part", ["", "/ready", "/infer", "/config"])
async def test_case_8_model_that_is_not_ready(part: str) -> None:
    model = FakeModel(state=ModelState.LOADING)
    method = "POST" if part == "/infer" else "GET"
    body: Any = {"inputs": []} if part == "/infer" else None

    response = await ask(model, body, f"/v2/models/half{part}", method=method)

    assert error(response)[0] == 503


async def test_model_ready() -> None:
    response = await get("/v2/models/simple/ready")

    expected = {"name": "simple", "ready": True}
    assert (response.status_code, response.json()) == (200, expected)


async def test_case_9_repository_calls_need_the_token(tmp_path: Path) -> None:
    path = "/v2/repository/models/simple/unload"

    async with admin_client(FakeEngine(SIMPLE), tmp_path, None) as client:
        refused = await client.post(path)

    async with admin_client(FakeEngine(identity()), tmp_path) as client:
        allowed = await client.post("/v2/repository/models/id1/unload")

    assert error(refused)[0] == 401
    assert allowed.status_code == 200


async def test_case_10_unknown_path() -> None:
    assert error(await get("/v2/nothing"))[0] == 404


@pytest.mark.parametrize("flat", [True, False], ids=["case 11 flat", "case 12 nested"])
async def test_cases_11_and_12_data(flat: bool) -> None:
    inputs = [json_input(f"INPUT{n}", A, flat=flat) for n in (0, 1)]

    response = await ask(SIMPLE, {"inputs": inputs})

    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "model_name": "simple",
        "model_version": "1",
        "outputs": [
            {
                "name": "OUTPUT0",
                "datatype": "INT32",
                "shape": [1, 16],
                "data": list(range(2, 33, 2)),
            },
            {
                "name": "OUTPUT1",
                "datatype": "INT32",
                "shape": [1, 16],
                "data": [0] * 16,
            },
        ],
    }


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param({"id": "x"}, "x", id="given"),
        pytest.param({"id": 'a"\u00e9'}, 'a"\u00e9', id="with a quote"),
        pytest.param({"id": ""}, None, id="empty"),
        pytest.param({}, None, id="none"),
    ],
)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
async def test_case_13_id(sent: dict[str, str], expected: Any, binary: bool) -> None:
    asked: dict[str, Any] = {"parameters": {"binary_data_output": binary}, **sent}

    response = await ask(SIMPLE, both(**asked))

    size = int(response.headers.get(LENGTH, len(response.content)))
    assert json.loads(response.content[:size]).get("id") == expected
    assert outputs_of(response)["OUTPUT0"].tolist() == (A + A).tolist()


async def test_case_14_listed_output() -> None:
    response = await ask(SIMPLE, both(outputs=[{"name": "OUTPUT1"}]))

    assert list(outputs_of(response)) == ["OUTPUT1"]


async def test_outputs_come_in_the_order_of_the_request() -> None:
    names = ["OUTPUT1", "OUTPUT0"]
    response = await ask(SIMPLE, both(outputs=[{"name": name} for name in names]))

    assert list(outputs_of(response)) == names


async def test_an_empty_list_of_outputs_asks_for_all() -> None:
    response = await ask(SIMPLE, both(outputs=[]))

    assert list(outputs_of(response)) == ["OUTPUT0", "OUTPUT1"]


async def test_case_15_unknown_output() -> None:
    response = await ask(SIMPLE, both(outputs=[{"name": "OUTPUT7"}]))

    expected = "unexpected inference output 'OUTPUT7' for model 'simple'"
    assert expected in error(response)[1]
    assert response.status_code == 400


async def test_case_17_duplicate_input() -> None:
    body = both()
    body["inputs"].append(body["inputs"][0])

    text = "input 'INPUT0' already exists in request: send it once"
    assert error(await ask(SIMPLE, body)) == (400, text)


async def test_duplicate_output() -> None:
    status, text = error(await ask(SIMPLE, both(outputs=[{"name": "OUTPUT0"}] * 2)))

    assert status == 400
    assert "output 'OUTPUT0' already exists" in text


@pytest.mark.parametrize("count", [15, 18], ids=["case 18 few", "case 19 many"])
async def test_cases_18_and_19_wrong_number_of_values(count: int) -> None:
    body = both()
    body["inputs"][0]["data"] = [1] * count

    async with make_client(FakeEngine(SIMPLE)) as client:
        refused = await client.post(INFER.format("simple"), json=body)
        answered = await client.post(INFER.format("simple"), json=both())

    status, text = error(refused)
    assert status == 400
    assert "'data' of input 'INPUT0'" in text
    assert "[1, 16]" in text
    assert answered.status_code == 200


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
async def test_case_21_overflow(binary: bool) -> None:
    given = {"parameters": {"binary_data_size": 4}} if binary else {"data": [1]}
    entry = {"name": "INPUT0", "datatype": "FP32", "shape": [2**4, 2**60 + 2]}
    head = json.dumps({"inputs": [{**entry, **given}]}).encode()
    body = head + b"1234" if binary else head

    headers = {LENGTH: str(len(head))} if binary else {}
    response = await ask(identity(), body, headers=headers)

    status, text = error(response)
    assert status == 400
    assert "element count" in text


async def test_a_large_shape_allocates_nothing() -> None:
    entry = {"name": "INPUT0", "datatype": "BYTES", "shape": [2**40]}
    head = json.dumps(
        {"inputs": [{**entry, "parameters": {"binary_data_size": 8}}]}
    ).encode()

    response = await ask(
        identity("string"), head + b"\0" * 8, headers={LENGTH: str(len(head))}
    )

    assert error(response)[0] == 400


async def test_case_23_missing_input() -> None:
    status, text = error(await ask(SIMPLE, {"inputs": both()["inputs"][:1]}))

    assert status == 400
    assert "expected 2 inputs but got 1 inputs for model 'simple'" in text
    assert "Got input(s) ['INPUT0']: missing 'INPUT1'" in text


async def test_unknown_input() -> None:
    status, text = error(
        await ask(SIMPLE, {"inputs": [*both()["inputs"], json_input("extra", A)]})
    )

    assert status == 400
    assert "unknown 'extra'" in text


OPTIONAL = FakeModel(
    signatures=(
        signature(
            tensor("x"), tensor("more", default=np.array(0, np.float32)), outputs=("y",)
        ),
    )
)


async def test_case_24_missing_optional_input() -> None:
    x = np.ones(2, np.float32)

    answered = await ask(OPTIONAL, {"inputs": [json_input("x", x)]})
    refused = await ask(OPTIONAL, {"inputs": []})

    assert outputs_of(answered)["y"].tolist() == [2.5, 2.5]
    assert "expected between 1 and 2 inputs" in error(refused)[1]
    assert refused.status_code == 400


async def test_case_25_wrong_datatype() -> None:
    status, text = error(await ask(SIMPLE, both(A.astype(np.float32))))

    assert status == 400
    assert "data-type is 'FP32', but model 'simple' expects 'INT32'" in text


async def test_case_26_wrong_shape() -> None:
    status, text = error(await ask(SIMPLE, both(A[:, :15])))

    assert status == 400
    expected = "unexpected shape for input 'INPUT0' for model 'simple'. "
    assert f"{expected}Expected [-1, 16], got [1, 15]" in text


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"[1]", id="list"),
        pytest.param(b"{}", id="no inputs"),
        pytest.param(b'{"inputs": {}}', id="inputs are an object"),
        pytest.param(b'{"inputs": [1]}', id="input is a number"),
        pytest.param(b'{"inputs": [], "inputs": []}', id="key twice"),
        pytest.param(b'{"inputs": [NaN', id="cut off after NaN"),
        pytest.param(b'{"inputs": [], "id": 1}', id="id is a number"),
        pytest.param(b'{"inputs": [], "outputs": 1}', id="outputs are a number"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
    ],
)
async def test_case_29_malformed_body(body: bytes) -> None:
    response = await ask(SIMPLE, body, headers={"Content-Type": "application/json"})

    assert error(response)[0] == 400


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"shape": None}, id="no shape"),
        pytest.param({"shape": [-1, 16]}, id="negative"),
        pytest.param({"shape": [1.5]}, id="fraction"),
        pytest.param({"shape": [True, 16]}, id="boolean"),
        pytest.param({"shape": [1] * 65}, id="too many dimensions"),
        pytest.param({"name": None}, id="no name"),
        pytest.param({"name": "x" * 1025}, id="long name"),
        pytest.param({"datatype": None}, id="no datatype"),
        pytest.param({"data": None}, id="no data"),
        pytest.param({"data": [[1], [2, 3]]}, id="ragged"),
        pytest.param({"data": ["1"] * 16}, id="strings"),
        pytest.param({"data": [1.5] * 16}, id="fractions for integers"),
        pytest.param({"data": [2**31] * 16}, id="out of range"),
        pytest.param({"data": [True] * 16}, id="booleans"),
        pytest.param({"data": {"a": 1}}, id="object"),
        pytest.param({"parameters": [1]}, id="parameters are a list"),
        pytest.param({"parameters": {"binary_data_size": 64}}, id="data twice"),
        pytest.param({"parameters": {"shared_memory_region": "r"}}, id="shared memory"),
    ],
)
async def test_malformed_input(change: dict[str, Any]) -> None:
    body = both()
    body["inputs"][0].update(change)

    assert error(await ask(SIMPLE, body))[0] == 400


@pytest.mark.parametrize(
    ("depth", "status"),
    [pytest.param(50, 200, id="50"), pytest.param(120, 400, id="120")],
)
async def test_case_30_nesting(depth: int, status: int) -> None:
    data: Any = 1
    for _ in range(depth):
        data = [data]

    entry = {"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": data}
    response = await ask(identity(), {"inputs": [entry]})

    assert response.status_code == status
    assert status == 200 or "nested deeper than 64" in error(response)[1]


@pytest.mark.parametrize(
    "path", ["/v2/repository/index", INFER.format("simple")], ids=["index", "infer"]
)
async def test_case_31_deep_nesting(path: str) -> None:
    body = b'{"ready": ' + b"[" * 250_000 + b"]" * 250_000 + b"}"

    async with make_client(FakeEngine(SIMPLE)) as client:
        refused = await client.post(path, content=body)
        alive = await client.get("/v2/health/live")

    assert error(refused)[0] == 400
    assert alive.status_code == 200


async def test_case_32_numbers_that_are_not_finite() -> None:
    values = [math.nan, math.inf, -math.inf, 1.5]
    entry = {"name": "INPUT0", "datatype": "FP32", "shape": [4], "data": values}

    response = await ask(identity(), json.dumps({"inputs": [entry]}).encode())

    assert str(response.json()["outputs"][0]["data"]) == "[nan, inf, -inf, 1.5]"


async def test_case_33_null_character() -> None:
    text = "abc\0def"
    entry = {"name": "INPUT0", "datatype": "BYTES", "shape": [1], "data": [text]}

    response = await ask(identity("string"), {"inputs": [entry]})

    assert response.json()["outputs"][0]["data"] == [text]


@pytest.mark.parametrize(
    ("shape", "sent"),
    [
        pytest.param((None,), [3], id="scalar a row"),
        pytest.param((None, 1), [3, 1], id="one number a row"),
        pytest.param((), [], id="scalar"),
    ],
)
async def test_case_35_shapes_are_kept(shape: tuple[int | None], sent: Any) -> None:
    array = np.ones(sent, np.float32)

    response = await ask(
        identity(shape=shape), {"inputs": [json_input("INPUT0", array)]}
    )

    assert response.json()["outputs"][0]["shape"] == sent


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
async def test_case_36_half_precision_is_binary_only(dtype: str) -> None:
    array = np.ones(2, getattr(ml_dtypes, dtype, dtype))
    as_json = {"inputs": [json_input("INPUT0", array)]}
    body, headers = binary_body({"INPUT0": array})
    good, good_headers = binary_body(
        {"INPUT0": array}, parameters={"binary_data_output": True}
    )

    sent = await ask(identity(dtype), as_json)
    asked = await ask(identity(dtype), body, headers=headers)
    answered = await ask(identity(dtype), good, headers=good_headers)

    assert "via JSON is not supported" in error(sent)[1]
    assert "via JSON is not supported" in error(asked)[1]
    assert (sent.status_code, asked.status_code) == (400, 400)
    assert outputs_of(answered)["OUTPUT0"].tobytes() == array.tobytes()


async def test_case_37_unknown_datatype() -> None:
    body = both()
    body["inputs"][0]["datatype"] = "FP80"

    status, text = error(await ask(SIMPLE, body))

    assert status == 400
    assert "'FP80'" in text


async def test_case_38_parameters() -> None:
    parameters = {"s": "a", "i": 1, "b": True, "d": 1.5, "priority": 1}

    assert (await ask(SIMPLE, both(parameters=parameters))).status_code == 200


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"p": [1]}, id="list"),
        pytest.param({"p": {"a": 1}}, id="object"),
        pytest.param({"p": None}, id="null"),
        pytest.param({"triton_x": 1}, id="reserved"),
        pytest.param({"timeout": -1}, id="negative timeout"),
        pytest.param({"timeout": "1"}, id="timeout is a string"),
        pytest.param({"binary_data_output": 1}, id="flag is a number"),
        pytest.param({"signature_name": 1}, id="signature is a number"),
        pytest.param({"signature_name": "nope"}, id="unknown signature"),
        pytest.param({str(n): n for n in range(257)}, id="too many"),
    ],
)
async def test_case_39_bad_parameters(parameters: dict[str, Any]) -> None:
    assert error(await ask(SIMPLE, both(parameters=parameters)))[0] == 400


@pytest.mark.parametrize("extra", [0, 1], ids=["at the limit", "over it"])
async def test_case_40_largest_body(extra: int) -> None:
    body = json.dumps(both()).encode()
    engine = FakeEngine(SIMPLE)

    async with make_client(engine, max_body_bytes=len(body) + 100) as client:
        response = await client.post(
            INFER.format("simple"), content=body + b" " * (100 + extra)
        )

    assert response.status_code == (413 if extra else 200)
    assert not extra or "--max-body-bytes" in error(response)[1]


async def test_case_43_binary_in_and_out() -> None:
    wanted = [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]
    body, headers = binary_body({"INPUT0": A, "INPUT1": A}, outputs=wanted)

    response = await ask(SIMPLE, body, headers=headers)

    head = json.loads(response.content[: int(response.headers[LENGTH])])
    assert response.headers["content-type"] == "application/octet-stream"
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 64}
    assert "data" not in head["outputs"][0]
    assert response.content[-64:] == as_bytes(A + A)


async def test_case_44_all_outputs_binary() -> None:
    response = await ask(SIMPLE, both(parameters={"binary_data_output": True}))

    assert outputs_of(response)["OUTPUT1"].tolist() == (A - A).tolist()
    assert response.content.endswith(as_bytes(A + A) + as_bytes(A - A))


async def test_a_listed_output_takes_the_default_of_the_request() -> None:
    wanted: list[Any] = [
        {"name": "OUTPUT0"},
        {"name": "OUTPUT1", "parameters": {"binary_data": False}},
    ]
    asked: dict[str, Any] = {
        "outputs": wanted,
        "parameters": {"binary_data_output": True},
    }

    response = await ask(SIMPLE, both(**asked))

    head = json.loads(response.content[: int(response.headers[LENGTH])])
    assert "data" not in head["outputs"][0]
    assert head["outputs"][1]["data"] == [0] * 16


async def test_case_46_json_beside_binary() -> None:
    body, headers = binary_body({"INPUT1": A})
    size = int(headers[LENGTH])
    head = json.loads(body[:size])
    head["inputs"].insert(0, json_input("INPUT0", A))
    text = json.dumps(head).encode()

    response = await ask(
        SIMPLE, text + body[size:], headers={**headers, LENGTH: str(len(text))}
    )

    assert outputs_of(response)["OUTPUT0"].tolist() == (A + A).tolist()


async def test_case_48_short_and_long_data() -> None:
    body, headers = binary_body({"INPUT0": A, "INPUT1": A})

    short = await ask(SIMPLE, body[:-3], headers=headers)
    long = await ask(SIMPLE, body + b"123", headers=headers)

    assert "expecting 3 additional bytes" in error(short)[1]
    assert "unexpected additional input data: 3 bytes" in error(long)[1]
    assert (short.status_code, long.status_code) == (400, 400)


async def test_case_49_size_against_shape() -> None:
    body, headers = binary_body({"INPUT0": A, "INPUT1": A})
    body = body.replace(b"[1, 16]", b"[1, 17]", 1)

    status, text = error(await ask(SIMPLE, body, headers=headers))

    assert status == 400
    assert "byte size mismatch" in text
    assert "Expected 68, got 64" in text


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999", "1000000", " "])
async def test_length_field_that_cannot_be(length: str) -> None:
    response = await ask(SIMPLE, both(), headers={LENGTH: length})

    assert LENGTH in error(response)[1]
    assert response.status_code == 400


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x05\0\0\0ab", id="goes beyond the end"),
        pytest.param(b"\x01\0\0\0ab", id="bytes left"),
        pytest.param(b"\x01\0", id="no length"),
    ],
)
async def test_strings_whose_lengths_do_not_fit(data: bytes) -> None:
    body, headers = binary_body({"INPUT0": np.array([b""], object)})
    size = int(headers[LENGTH])
    head = body[:size].replace(b'size": 4', b'size": %d' % len(data))

    response = await ask(
        identity("string"), head + data, headers={LENGTH: str(len(head))}
    )

    assert error(response)[0] == 400


async def test_boolean_that_is_neither() -> None:
    body, headers = binary_body({"INPUT0": np.array([True, False])})

    response = await ask(identity("bool"), body[:-1] + b"\x02", headers=headers)

    assert error(response) == (
        400,
        "input 'INPUT0' is BOOL, and its byte 1 is 2: send 0 or 1 for each element",
    )


@pytest.mark.parametrize("shape", [(None,), None, (None, 4)], ids=str)
@pytest.mark.parametrize("count", [8, 32])
async def test_case_51_raw_binary(shape: Any, count: int) -> None:
    data = np.arange(count, dtype=np.float32).tobytes()

    response = await ask(identity(shape=shape), data, headers={LENGTH: "0"})

    assert response.content[int(response.headers[LENGTH]) :] == data


async def test_case_52_raw_string() -> None:
    response = await ask(identity("string", (None,)), b"427", headers={LENGTH: "0"})

    assert response.content[int(response.headers[LENGTH]) :] == b"\3\0\0\x00427"


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(identity(shape=(None, None, None)), id="variable dimensions"),
        pytest.param(SIMPLE, id="inputs"),
        pytest.param(identity("complex64", (None,)), id="no datatype"),
        pytest.param(identity("string", (None, 2)), id="two strings"),
    ],
)
async def test_case_54_raw_binary_that_is_not_clear(model: FakeModel) -> None:
    assert error(await ask(model, b"1" * 64, headers={LENGTH: "0"}))[0] == 400


async def test_raw_binary_of_a_wrong_size() -> None:
    response = await ask(identity(shape=(None, 4)), b"1" * 15, headers={LENGTH: "0"})

    assert error(response)[0] == 400


async def test_case_55_raw_binary_in_chunks() -> None:
    data = np.arange(8, dtype=np.float32).tobytes()

    async def chunks() -> Any:
        yield data[:5]
        yield data[5:]

    async with make_client(FakeEngine(identity())) as client:
        response = await client.post(
            INFER.format("id1"), content=chunks(), headers={LENGTH: "0"}
        )

    assert response.content[int(response.headers[LENGTH]) :] == data


def classifying(k: Any, **beside: Any) -> list[dict[str, Any]]:
    return [{"name": "OUTPUT0", "parameters": {"classification": k, **beside}}]


SCORES = np.array([[0.1, 0.7, 0.2], [1, 0, 1]], np.float32)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
async def test_classification(binary: bool) -> None:
    body = {
        "inputs": [json_input("INPUT0", SCORES)],
        "outputs": classifying(2, binary_data=binary),
    }

    plain = outputs_of(await ask(identity(), body))["OUTPUT0"]
    named = outputs_of(await ask(identity(classes=("a", "b", "c")), body))["OUTPUT0"]

    assert plain.tolist() == [
        [b"0.700000:1", b"0.200000:2"],
        [b"1.000000:0", b"1.000000:2"],
    ]
    assert named[0].tolist() == [b"0.700000:1:b", b"0.200000:2:c"]


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float64])
async def test_classification_of_a_vector(dtype: type) -> None:
    values: Array = np.array([3, 9, 9], dtype)
    body = {"inputs": [json_input("INPUT0", values)], "outputs": classifying(2)}

    found = outputs_of(await ask(identity(np.dtype(dtype).name), body))["OUTPUT0"]

    nine = "9.000000" if dtype is np.float64 else "9"
    assert found.tolist() == [f"{nine}:1".encode(), f"{nine}:2".encode()]


async def test_case_60_classification_of_more_classes_than_there_are() -> None:
    body = {"inputs": [json_input("INPUT0", SCORES)], "outputs": classifying(9)}

    assert outputs_of(await ask(identity(), body))["OUTPUT0"].shape == (2, 3)


async def test_case_60_classification_of_a_large_output() -> None:
    array = np.zeros((1, 1_000_001), np.float32)
    body, headers = binary_body({"INPUT0": array}, outputs=classifying(1))

    status, text = error(await ask(identity(), body, headers=headers))

    assert status == 400
    assert "classification output tensor too large" in text


@pytest.mark.parametrize("dtype", ["string", "float16", "bool"])
async def test_case_60_classification_of_what_has_no_scores(dtype: str) -> None:
    made = {"string": object, "bool": bool}.get(dtype, dtype)
    array = np.array([b"a"], object) if dtype == "string" else np.ones(1, made)
    body, headers = binary_body({"INPUT0": array}, outputs=classifying(1))

    status, text = error(await ask(identity(dtype), body, headers=headers))

    assert status == 400
    assert "unsupported type" in text


@pytest.mark.parametrize("k", [-1, "2", 1.5, True])
async def test_number_of_classes_that_is_none(k: Any) -> None:
    body = {"inputs": [json_input("INPUT0", SCORES)], "outputs": classifying(k)}

    assert error(await ask(identity(), body))[0] == 400


async def test_case_61_load_and_unload(tmp_path: Path) -> None:
    model = identity()

    async with admin_client(FakeEngine(model), tmp_path) as client:
        before = await client.get("/v2/models/id1")
        unloaded = await client.post(
            "/v2/repository/models/id1/unload",
            json={"parameters": {"unload_dependents": False}},
        )
        between = await client.get("/v2/models/id1")
        index = await client.post("/v2/repository/index")
        loaded = await client.post("/v2/repository/models/id1/load", json={})
        after = await client.get("/v2/models/id1")

    entry = {"name": "id1", "version": "1"}
    assert [before.status_code, between.status_code, after.status_code] == [
        200,
        503,
        200,
    ]
    assert index.json() == [{**entry, "state": "UNAVAILABLE", "reason": "unloaded"}]
    assert (unloaded.status_code, loaded.status_code) == (200, 200)


@pytest.mark.parametrize("act", ["load", "unload"], ids=["case 62", "case 63"])
async def test_cases_62_and_63_unknown_model(tmp_path: Path, act: str) -> None:
    async with admin_client(FakeEngine(identity()), tmp_path) as client:
        response = await client.post(f"/v2/repository/models/nope/{act}")

    assert error(response)[0] == 404


async def test_load_finds_files_that_have_just_arrived(tmp_path: Path) -> None:
    engine = FakeEngine(identity())
    engine.found = [FakeModel(name="new")]

    async with admin_client(engine, tmp_path) as client:
        response = await client.post("/v2/repository/models/new/load", json={})

    assert response.status_code == 200


async def test_case_64_index() -> None:
    models = [FakeModel(name="a"), FakeModel(name="b", state=ModelState.LOADING)]

    async with make_client(FakeEngine(*models)) as client:
        everything = await client.post("/v2/repository/index")
        ready = await client.post("/v2/repository/index", json={"ready": True})
        wrong = await client.post("/v2/repository/index", json={"ready": "yes"})

    states = [(each["name"], each["state"]) for each in everything.json()]
    assert states == [("a", "READY"), ("b", "LOADING")]
    assert [each["name"] for each in ready.json()] == ["a"]
    assert error(wrong)[0] == 400


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param({"config": "{}"}, id="config"),
        pytest.param({"config": "{}", "file:../../x": "AA=="}, id="case 66"),
        pytest.param({"file:1/model.pb": "A" * (1 << 20)}, id="case 67"),
    ],
)
async def test_cases_66_and_67_files_in_a_request(
    tmp_path: Path, parameters: dict[str, str]
) -> None:
    async with admin_client(FakeEngine(identity()), tmp_path) as client:
        response = await client.post(
            "/v2/repository/models/id1/load", json={"parameters": parameters}
        )

    assert "isn't supported" in error(response)[1]
    assert response.status_code == 400


async def test_case_68_failed_load(tmp_path: Path) -> None:
    async with admin_client(
        FakeEngine(identity(broken="it is cut off")), tmp_path
    ) as c:
        response = await c.post("/v2/repository/models/id1/load", json={})

    assert "it is cut off" in error(response)[1]
    assert response.status_code == 503


async def test_case_70_versions() -> None:
    engine = FakeEngine(*(FakeModel(version=version) for version in (1, 3)))

    async with make_client(engine) as client:
        newest = (await client.get("/v2/models/half")).json()
        first = (await client.get("/v2/models/half/versions/1")).json()

    assert (newest["versions"], first["versions"]) == (["1", "3"], ["1"])


async def test_case_71_full_queue() -> None:
    assert error(await ask(identity(full=True), {"inputs": []}))[0] == 429


async def test_list_of_models() -> None:
    assert (await get("/v2/models")).json() == {"models": ["simple"]}


async def test_config() -> None:
    document = (await get("/v2/models/simple/config")).json()

    tensors = {"data_type": "TYPE_INT32", "dims": [-1, 16]}
    assert document["name"] == "simple"
    assert document["max_batch_size"] == 0
    assert document["output"][0] == {"name": "OUTPUT0", **tensors}


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data"])
async def test_body_of_another_type(kind: str) -> None:
    response = await ask(SIMPLE, b"{}", headers={"Content-Type": kind})

    assert error(response)[0] == 415


@pytest.mark.parametrize(
    ("encoding", "bits"),
    [("gzip", zlib.MAX_WBITS | 16), ("deflate", zlib.MAX_WBITS)],
)
async def test_a_compressed_body_with_binary_data(encoding: str, bits: int) -> None:
    array = np.arange(12, dtype="float32").reshape(3, 4)
    body, headers = binary_body({"INPUT0": array})
    headers |= {"Content-Encoding": encoding}
    content = zlib.compress(body, wbits=bits)

    response = await ask(identity(), content, headers=headers)

    np.testing.assert_array_equal(outputs_of(response)["OUTPUT0"], array)


async def test_output_without_a_datatype() -> None:
    model = identity("complex64")
    spec = outputs_like(signature(tensor("INPUT0")), OUTPUT0=("complex64", None))
    model = FakeModel(
        name="id1",
        signatures=(spec,),
        function=lambda inputs: {"OUTPUT0": np.ones(1, np.complex64)},
    )

    response = await ask(model, {"inputs": [json_input("INPUT0", SCORES)]})

    assert "has no datatype" in error(response)[1]
    assert response.status_code == 400


async def test_strings_that_are_not_text_are_answered_as_binary_data() -> None:
    array = np.array([b"\xff\xfe"], object)
    body, headers = binary_body({"INPUT0": array})
    asked, asked_headers = binary_body(
        {"INPUT0": array}, parameters={"binary_data_output": True}
    )

    refused = await ask(identity("string"), body, headers=headers)
    answered = await ask(identity("string"), asked, headers=asked_headers)

    assert "aren't UTF-8" in error(refused)[1]
    assert outputs_of(answered)["OUTPUT0"].tolist() == [b"\xff\xfe"]


@pytest.mark.parametrize(
    "path",
    ["/v2/models/stats", "/v2/models/half/stats", "/v2/models/half/versions/1/stats"],
)
async def test_statistics(path: str) -> None:
    model = FakeModel()
    nothing = {"count": 0, "ns": 0}

    [found] = (await get(path, model)).json()["model_stats"]

    assert (found["name"], found["version"]) == ("half", "1")
    assert (found["inference_count"], found["execution_count"]) == (0, 0)
    assert found["inference_stats"]["success"] == nothing
    assert found["batch_stats"] == []


async def test_statistics_of_an_unknown_model() -> None:
    assert error(await get("/v2/models/nope/stats"))[0] == 404


MANY = np.arange(4096, dtype=np.float32).reshape(1, -1)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_case_56_compressed_request(coding: str) -> None:
    body, headers = binary_body({"INPUT0": MANY})
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)

    response = await ask(
        identity(), packed, headers={**headers, "Content-Encoding": coding}
    )

    assert outputs_of(response)["OUTPUT0"].tolist() == MANY.tolist()


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        pytest.param("gzip", "gzip", id="gzip"),
        pytest.param("deflate", "deflate", id="deflate"),
        pytest.param("gzip;q=0.5, deflate", "deflate", id="deflate rather"),
        pytest.param("identity, gzip", None, id="none rather"),
        pytest.param("gzip;q=0", None, id="gzip refused"),
        pytest.param("br, *", None, id="others"),
    ],
)
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
async def test_case_56_compressed_answer(
    accepted: str, coding: str | None, binary: bool
) -> None:
    asked = {"parameters": {"binary_data_output": binary}}
    body, headers = binary_body({"INPUT0": MANY}, **asked)

    plain = await ask(identity(), body, headers={**headers, "Accept-Encoding": ""})
    response = await ask(
        identity(), body, headers={**headers, "Accept-Encoding": accepted}
    )

    # httpx decodes it; the length is of the JSON as it was.
    assert response.headers.get("Content-Encoding") == coding
    assert response.content == plain.content
    assert response.headers.get(LENGTH) == plain.headers.get(LENGTH)
    assert response.headers["Vary"] == "Accept-Encoding"


async def test_short_answers_are_not_compressed() -> None:
    response = await ask(SIMPLE, both(), headers={"Accept-Encoding": "gzip"})

    assert "Content-Encoding" not in response.headers


async def test_unknown_encoding_of_a_request() -> None:
    status, text = error(await ask(SIMPLE, both(), headers={"Content-Encoding": "br"}))

    assert status == 415
    assert "gzip or deflate" in text


async def test_case_58_gzip_bomb() -> None:
    bomb = gzip.compress(b" " * (1 << 26))

    status, text = error(
        await ask(SIMPLE, bomb, headers={"Content-Encoding": "gzip", LENGTH: "2"})
    )

    assert status == 413
    assert "--max-" in text


async def test_case_27_requests_above_the_batch_size_are_answered() -> None:
    """`max_batch_size` bounds what is joined, not what a request may hold."""
    rows = np.ones((1000, 16), np.int32)
    inputs = [json_input(f"INPUT{n}", rows) for n in (0, 1)]

    response = await ask(SIMPLE, {"inputs": inputs})

    assert outputs_of(response)["OUTPUT0"].shape == (1000, 16)


async def test_case_41_many_chunks() -> None:
    body = json.dumps(both()).encode()

    async def chunks() -> Any:
        yield body
        for _ in range(66_000):
            yield b" "

    async with make_client(FakeEngine(SIMPLE)) as client:
        response = await client.post(INFER.format("simple"), content=chunks())
        alive = await client.get("/v2/health/live")

    assert (response.status_code, alive.status_code) == (200, 200)


async def test_case_83_kserves_first_protocol() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        alive = await client.get("/")
        ready = await client.get("/v1/models/half")

    assert alive.json()["status"] == "alive"
    assert ready.json()["ready"] is True


async def test_case_84_predict() -> None:
    response = await ask(FakeModel(), {"instances": [1.0]}, "/v1/models/half:predict")

    assert response.json() == {"predictions": [2.5]}


@pytest.mark.parametrize(
    ("call", "status"),
    [
        pytest.param("half:explain", 400, id="case 85 explain"),
        pytest.param("nope:predict", 404, id="case 86 unknown model"),
    ],
)
async def test_cases_85_and_86_what_is_not_there(call: str, status: int) -> None:
    response = await ask(FakeModel(), {"instances": [1]}, f"/v1/models/{call}")

    assert error(response)[0] == status


async def test_case_90_metrics() -> None:
    response = await get("/metrics")

    assert response.status_code == 200
    assert "# HELP" in response.text


async def test_repository_calls_are_logged_as_an_operators_acts(tmp_path: Path) -> None:
    async with admin_client(FakeEngine(identity()), tmp_path) as client:
        with capture_logs() as lines:
            await client.post("/v2/repository/models/id1/unload")
            await client.post("/v2/repository/models/nope/unload")

    acts = [line for line in lines if line["event"].startswith("admin act")]
    assert [(each["event"], each["model"]) for each in acts] == [
        ("admin act", "id1"),
        ("admin act refused", "nope"),
    ]


async def test_a_timeout_is_that_of_the_engines_request() -> None:
    """Case 74: a request may ask for less time than the model's, not for more."""
    engine = FakeEngine(FakeModel())
    x = np.ones(1, np.float32)
    body = {"inputs": [json_input("x", x)], "parameters": {"timeout": 2_500_000}}

    async with make_client(engine) as client:
        await client.post(INFER.format("half"), json=body)
        await client.post(INFER.format("half"), json={**body, "parameters": {}})

    first, second = (request.timeout for request in engine.requests)
    assert first is not None
    assert 0 < first <= 2.5
    assert second is None


async def test_case_28_inputs_of_different_batch_sizes() -> None:
    """The model judges them, joined with no other request: this one adds them."""
    two = np.vstack([A, A])
    body = {"inputs": [json_input("INPUT0", two), json_input("INPUT1", A)]}

    response = await ask(SIMPLE, body)

    assert outputs_of(response)["OUTPUT0"].tolist() == (two + A).tolist()


async def test_case_42_and_87_headers_of_other_protocols_change_nothing() -> None:
    """Nothing is passed through to an answer, and no CloudEvent is made of it."""
    sent = {"x-foo": "bar", "ce-id": "1", "ce-type": "t", "ce-specversion": "1.0"}

    response = await ask(SIMPLE, both(), headers=sent)

    assert response.status_code == 200
    assert not {*sent} & {name.lower() for name in response.headers}


@pytest.mark.parametrize("content", [b"{}", b"\xff"], ids=["87", "88"])
async def test_a_structured_cloud_event_is_refused(content: bytes) -> None:
    sent = {"content-type": "application/cloudevents+json"}

    response = await ask(SIMPLE, content, headers=sent)

    assert error(response)[0] in (400, 415)


async def test_case_72_time_in_the_queue_runs_out() -> None:
    def late(inputs: Mapping[str, Array]) -> dict[str, Array]:
        raise DeadlineExceeded("The request's time of 1 s is over.")

    response = await ask(FakeModel(function=late), {"inputs": [json_input("x", ONE)]})

    assert error(response) == (504, "The request's time of 1 s is over.")
