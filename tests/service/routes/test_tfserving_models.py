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
        pytest.param("GET", "/v1/foo", 400, id="7"),
        pytest.param("POST", "/v1/foo", 400, id="7, POST"),
        pytest.param("GET", "/v1/models/half:predict", 405, id="8"),
        pytest.param("POST", "/v1/models/half/version/50:predict", 400, id="9"),
        pytest.param("POST", "/v1/models", 405, id="10"),
        pytest.param("POST", "/v1/models/half/versions/HELLO:regress", 400, id="11"),
        pytest.param("POST", "/v1/models/half/metadata", 405, id="13"),
        pytest.param("POST", "/v1/models/a/versions/5/labels/b:regress", 400, id="14"),
        pytest.param("POST", "/v1/models/half/label/stable:regress", 400, id="15"),
        pytest.param("GET", "/v1/models/debug/model_name", 400, id="17"),
        pytest.param("GET", "/v1/models/", 400, id="no name"),
        pytest.param("POST", "/v1/models/half:regress/", 400, id="a slash at the end"),
        pytest.param("GET", "/statuspage", 404, id="18"),
        pytest.param("GET", "/v1", 404, id="18, v1"),
        pytest.param("POST", "/v1/models/half", 405, id="POST without a verb"),
        pytest.param("POST", "/v1/models/half:explain", 400, id="an unknown verb"),
        pytest.param("POST", "/v1/models/half:PREDICT", 400, id="in capitals"),
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
    malformed = response.json()["error"].startswith(f"Malformed request: {method} /v1/")
    assert malformed is (status == 400)


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


@pytest.mark.parametrize(
    ("path", "rest", "message"),
    [
        pytest.param("foo", "", "Could not find any versions of model foo", id="37"),
        pytest.param(
            "half/versions/99",
            "",
            "Could not find version 99 of model half",
            id="2, 37, a version",
        ),
        ("foo", "/metadata", "Servable not found for request: Latest(foo)"),
        (
            "half/versions/99",
            "/metadata",
            "Servable not found for request: Specific(half, 99)",
        ),
        pytest.param(
            "modelname%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D",
            "",
            "Could not find any versions of model modelname!#$%&'()*+,/:;=?@[]",
            id="1",
        ),
        pytest.param(
            "a%3Ab",
            "/metadata",
            "Servable not found for request: Latest(a:b)",
            id="5",
        ),
    ],
)
async def test_status_and_metadata_of_unknown_models(
    path: str, rest: str, message: str
) -> None:
    """TensorFlow Serving's conformance cases 2 and 37 among others."""
    async with make_client(FakeEngine(OLD)) as client:
        response = await client.get(f"/v1/models/{path}{rest}")

    assert response.status_code == 404
    assert response.json()["error"].startswith(f"{message}: ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("POST", "half/versions/18446744073709551615:predict", id="12"),
        pytest.param("GET", f"half/versions/{2**63}", id="12, one too large"),
        pytest.param("POST", f"half/versions/{'9' * 5000}:predict", id="very long"),
        pytest.param("POST", f"a%20b/versions/{2**64}:predict", id="an escaped name"),
    ],
)
async def test_a_version_of_more_than_63_bits_is_refused(
    method: str, path: str
) -> None:
    async with make_client(FakeEngine(OLD)) as client:
        response = await client.request(method, f"/v1/models/{path}")

    assert response.status_code == 400
    assert response.json()["error"].startswith("Failed to convert version: ")


@pytest.mark.parametrize("rest", ["", "/metadata"])
async def test_a_version_with_leading_zeros_is_not_found(rest: str) -> None:
    async with make_client(FakeEngine(OLD)) as client:
        response = await client.get(f"/v1/models/half/versions/01{rest}")

    assert response.status_code == 404
    assert "without leading zeros, 1" in response.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("half", id="39"),
        pytest.param("half/versions/123", id="39, a version"),
    ],
)
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
    """TensorFlow Serving's conformance case 16, which this server answers."""
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


@pytest.mark.parametrize(
    ("sent", "label"),
    [
        pytest.param("latest", "latest", id="3"),
        pytest.param("%6Catest", "latest", id="4"),
        pytest.param("Version_Label", "Version_Label", id="29"),
    ],
)
async def test_labels_are_read_from_the_url(sent: str, label: str) -> None:
    model = FakeModel(version=123, labels=(label,))
    async with make_client(FakeEngine(model)) as client:
        url = f"/v1/models/half/labels/{sent}"
        status = await client.get(url)
        answer = await client.post(f"{url}:predict", json={"instances": [1.0]})

    assert [each["version"] for each in status.json()["model_version_status"]] == [
        "123"
    ]
    assert answer.json() == {"predictions": [2.5]}
