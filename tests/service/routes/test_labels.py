"""Requests by label; differences from TensorFlow Serving are deliberate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Array

STABLE = "/v1/models/half/labels/stable"


def constant(value: float, version: int, *labels: str) -> FakeModel:
    def function(inputs: Mapping[str, Array]) -> dict[str, Array]:
        return {"y": np.full_like(inputs["x"], value)}

    return FakeModel(version=version, labels=labels, function=function)


ENGINE_MODELS = constant(1, 1, "stable"), constant(2, 2, "canary.v2_x-y")


async def test_a_label_chooses_the_version() -> None:
    """29"""
    async with make_client(FakeEngine(*ENGINE_MODELS)) as client:
        answers = [
            (await client.post(f"/v1/models/half{path}:predict", json={"inputs": [0]}))
            for path in ("/labels/stable", "/labels/canary.v2_x-y", "")
        ]

    assert [answer.json()["outputs"] for answer in answers] == [[1], [2], [2]]


async def test_a_label_follows_the_version_it_is_moved_to() -> None:
    engine = FakeEngine(constant(1, 1, "stable"), constant(2, 2))
    async with make_client(engine) as client:
        before = await client.post(f"{STABLE}:predict", json={"inputs": [0]})
        await engine.label("half", {"stable": 2})
        after = await client.post(f"{STABLE}:predict", json={"inputs": [0]})

    assert (before.json()["outputs"], after.json()["outputs"]) == ([1], [2])


async def test_status_is_that_of_the_labels_version() -> None:
    """36; TensorFlow Serving shows all versions, whatever the label."""
    async with make_client(FakeEngine(*ENGINE_MODELS)) as client:
        response = await client.get(STABLE)

    [status] = response.json()["model_version_status"]
    assert status["version"] == "1"


async def test_metadata_is_that_of_the_labels_version() -> None:
    async with make_client(FakeEngine(*ENGINE_MODELS)) as client:
        response = await client.get(f"{STABLE}/metadata")

    assert response.json()["model_spec"]["version"] == "1"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", ":predict"), ("GET", ""), ("GET", "/metadata")]
)
async def test_an_unknown_label(method: str, path: str) -> None:
    """25"""
    async with make_client(FakeEngine(*ENGINE_MODELS)) as client:
        response = await client.request(method, f"/v1/models/half/labels/gone{path}")

    assert response.status_code == 400
    error = response.json()["error"]
    assert error.startswith("Unrecognized servable version label: gone: ")
    assert "no label gone" in error


@pytest.mark.parametrize(
    ("path", "label"),
    [
        pytest.param("half/labels/0ld:predict", "0ld", id="a digit first"),
        pytest.param(f"half/labels/{'a' * 65}:predict", "a" * 65, id="too long"),
        pytest.param("half/labels/a%2Fb:predict", "a/b", id="a slash"),
        pytest.param("half/labels/%C3%A9:predict", "é", id="outside ASCII"),
        pytest.param(
            "half/labels/%21%23%24%25%26%27%28%29%2A%2B%2C%2F%3A%3B%3D%3F%40%5B%5D:predict",
            "!#$%&'()*+,/:;=?@[]",
            id="4",
        ),
    ],
)
async def test_a_label_that_cant_exist_is_unknown(path: str, label: str) -> None:
    async with make_client(FakeEngine(*ENGINE_MODELS)) as client:
        response = await client.post(f"/v1/models/{path}", json={"inputs": [0]})

    assert response.status_code == 400
    error = response.json()["error"]
    assert error.startswith(f"Unrecognized servable version label: {label}: ")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("half/labels/:predict", id="no label"),
        pytest.param("half/label/stable:predict", id="15"),
        pytest.param("half/versions/1/labels/stable:predict", id="14"),
    ],
)
async def test_a_url_that_has_no_label_in_its_place_is_malformed(path: str) -> None:
    async with make_client(FakeEngine(*ENGINE_MODELS)) as client:
        response = await client.post(f"/v1/models/{path}", json={"inputs": [0]})

    assert response.status_code == 400
    assert response.json()["error"].startswith(
        "Malformed request: POST /v1/models/half"
    )
