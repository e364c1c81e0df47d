"""Hosting platforms' URLs, answered as those of the server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from inference import ModelState
from service.bridge.bridge import Bridge
from service.web.hosting import Hosted, default_model, sagemaker, vertex
from tests.support.clients import make_app
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from service.web.hosting import Target

HALF = FakeModel(name="half", version=123)
ROWS = {"instances": [1.0, 2.0]}
ANSWER = {"predictions": [2.5, 3.0]}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
VERTEX = {
    "AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2",
    "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
}


async def ask(
    method: str,
    path: str,
    *models: FakeModel,
    named: str | None = None,
    platform: str = "sagemaker",
    **sent: Any,
) -> httpx.Response:
    engine = FakeEngine(*(models or (HALF,)))
    model = default_model(engine, named)
    target: Target = sagemaker(model) if platform != "vertex" else vertex(model, VERTEX)
    transport = httpx.ASGITransport(Hosted(Bridge(make_app(engine)), target))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        return await client.request(method, path, **sent)


@pytest.mark.parametrize("state", [ModelState.AVAILABLE, ModelState.LOADING])
@pytest.mark.parametrize("platform", ["sagemaker", "vertex"])
async def test_the_probe_says_what_readiness_says(
    platform: str, state: ModelState
) -> None:
    path = "/ping" if platform == "sagemaker" else VERTEX["AIP_HEALTH_ROUTE"]
    response = await ask("GET", path, FakeModel(state=state), platform=platform)

    ready = state is ModelState.AVAILABLE
    assert response.status_code == (200 if ready else 503)
    assert response.json()["ready"] is ready


async def test_the_only_model_is_asked_by_sagemaker() -> None:
    response = await ask("POST", "/invocations", json=ROWS)

    assert response.json() == ANSWER
    assert response.headers["X-Model-Version"] == "123"


async def test_the_only_model_is_asked_by_vertex() -> None:
    body = {**ROWS, "parameters": {}}
    path = VERTEX["AIP_PREDICT_ROUTE"]
    response = await ask("POST", path, json=body, platform="vertex")

    assert response.json() == ANSWER


@pytest.mark.parametrize(
    ("attributes", "answer"),
    [
        pytest.param("tfs-model-name=other", {"predictions": [2.5, 3.0]}, id="name"),
        pytest.param(
            "x=1, tfs-model-name=half,tfs-model-version=123", ANSWER, id="version"
        ),
        pytest.param("trace-id=42", ANSWER, id="others of no meaning here"),
    ],
)
async def test_custom_attributes_name_the_model(attributes: str, answer: Any) -> None:
    others = (HALF, FakeModel(name="other"))
    headers = {ATTRIBUTES: attributes}
    response = await ask(
        "POST", "/invocations", *others, named="half", json=ROWS, headers=headers
    )

    assert response.json() == answer


async def test_a_method_named_by_an_attribute_is_called() -> None:
    headers = {ATTRIBUTES: "tfs-method=classify"}
    response = await ask("POST", "/invocations", json=ROWS, headers=headers)

    assert response.status_code == 400
    assert "examples" in response.json()["error"]


async def test_several_models_need_a_name() -> None:
    others = (HALF, FakeModel(name="other"))
    response = await ask("POST", "/invocations", *others, json=ROWS)

    assert response.status_code == 400
    assert "the server has half, other" in response.json()["error"]
    assert "--platform-model" in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/invocations"),
        ("POST", "/ping"),
        ("POST", "/models/half/invoke"),
        ("POST", "/models"),
    ],
)
async def test_other_urls_are_unknown(method: str, path: str) -> None:
    """The URLs of a multi-model endpoint are, too, where there is none."""
    response = await ask(method, path, json={})

    assert response.status_code == 404


async def test_urls_of_the_server_are_answered_beside_the_platforms() -> None:
    response = await ask("POST", "/v1/models/half:predict", json=ROWS)

    assert response.json() == ANSWER
