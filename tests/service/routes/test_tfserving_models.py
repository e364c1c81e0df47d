"""Status, metadata, list of models, unknown URLs.

Numbers are those of TensorFlow Serving's conformance cases.
"""

from __future__ import annotations

import pytest

from inference import ModelState
from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel

HALF = FakeModel(version=123)
OLD = FakeModel(version=1)
BROKEN = FakeModel(version=2, state=ModelState.END, error="no such layer")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/v1/foo", 404, id="7"),
        pytest.param("GET", "/v1/models/half:predict", 405, id="8"),
        pytest.param("POST", "/v1/models/half/version/50:predict", 404, id="9"),
        pytest.param("POST", "/v1/models", 405, id="10"),
        pytest.param("POST", "/v1/models/half/versions/HELLO:predict", 404, id="11"),
        pytest.param("POST", "/v1/models/half/metadata", 405, id="13"),
        pytest.param("GET", "/v1/models/debug/model_name", 404, id="17"),
        pytest.param("GET", "/statuspage", 404, id="18"),
        pytest.param("POST", "/v1/models/half", 405, id="POST without a verb"),
        pytest.param("POST", "/v1/models/half:explain", 404, id="an unknown verb"),
        pytest.param("POST", "/v1/models/half:PREDICT", 404, id="in capitals"),
        pytest.param("DELETE", "/v1/models/half", 405, id="DELETE"),
        pytest.param("POST", "/v1/models/%2e%2e%2fetc:predict", 404, id="a path"),
    ],
)
async def test_wrong_urls_and_methods(method: str, path: str, status: int) -> None:
    async with make_client(FakeEngine(HALF)) as client:
        response = await client.request(method, path)

    assert response.status_code == status
    assert response.json().keys() == {"error"}
    assert ("Allow" in response.headers) is (status == 405)


@pytest.mark.parametrize(
    ("path", "versions"),
    [
        pytest.param("half", ["2", "1"], id="38"),
        pytest.param("half/versions/1", ["1"], id="36"),
    ],
)
async def test_status(path: str, versions: list[str]) -> None:
    async with make_client(FakeEngine(OLD, BROKEN)) as client:
        response = await client.get(f"/v1/models/{path}")

    statuses = response.json()["model_version_status"]
    assert response.status_code == 200
    assert [status["version"] for status in statuses] == versions


async def test_the_status_of_a_broken_version_has_its_error() -> None:
    async with make_client(FakeEngine(OLD, BROKEN)) as client:
        response = await client.get("/v1/models/half/versions/2")

    (status,) = response.json()["model_version_status"]
    assert status["state"] == "END"
    assert status["status"]["error_message"] == "no such layer"


@pytest.mark.parametrize("rest", ["", "/metadata"])
@pytest.mark.parametrize("path", ["foo", "half/versions/99"])
async def test_status_and_metadata_of_unknown_models(path: str, rest: str) -> None:
    async with make_client(FakeEngine(OLD)) as client:
        response = await client.get(f"/v1/models/{path}{rest}")  # 37

    assert response.status_code == 404
    assert response.json().keys() == {"error"}


@pytest.mark.parametrize("rest", ["", "/metadata"])
async def test_a_version_with_leading_zeros_is_not_found(rest: str) -> None:
    async with make_client(FakeEngine(OLD)) as client:
        response = await client.get(f"/v1/models/half/versions/01{rest}")

    assert response.status_code == 404
    assert "without leading zeros, 1" in response.json()["error"]


@pytest.mark.parametrize("path", ["half", "half/versions/123"])
async def test_metadata(path: str) -> None:
    async with make_client(FakeEngine(HALF)) as client:
        response = await client.get(f"/v1/models/{path}/metadata")

    document = response.json()
    signatures = document["metadata"]["signature_def"]["signature_def"]
    assert document["model_spec"]["version"] == "123"
    assert signatures["serving_default"]["inputs"]["x"]["dtype"] == "DT_FLOAT"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(
            FakeModel(state=ModelState.LOADING), "'half' is LOADING", id="loading"
        ),
        pytest.param(
            FakeModel(state=ModelState.END, error="no such layer"),
            "no such layer",
            id="broken",
        ),
    ],
)
async def test_metadata_of_an_unloaded_model(model: FakeModel, message: str) -> None:
    async with make_client(FakeEngine(model)) as client:
        response = await client.get("/v1/models/half/metadata")

    assert response.status_code == 503
    assert message in response.json()["error"]


async def test_list_of_models() -> None:
    async with make_client(FakeEngine(OLD, BROKEN, FakeModel(name="b"))) as client:
        response = await client.get("/v1/models")
        models = response.json()["models"]
        answer = await client.post(
            models[0]["versions"][0]["predict"], json={"instances": [1.0]}
        )

    assert [model["name"] for model in models] == ["b", "half"]
    assert answer.json() == {"predictions": [2.5]}
    assert [item["version"] for item in models[1]["versions"]] == [1, 2]
    assert models[1]["versions"][1]["error"] == "no such layer"
