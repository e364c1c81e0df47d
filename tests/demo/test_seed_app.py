"""The demo of an application of one's own, served by uvicorn."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from tests import PROJECT
from tests.e2e.processes import PATIENCE_SECONDS, free_port, ready, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.demo.conftest import Made

pytestmark = pytest.mark.timeout(2 * PATIENCE_SECONDS)


@pytest.fixture(scope="module")
async def client(
    made: Made, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    folder: Path = tmp_path_factory.mktemp("seed")
    port = free_port()
    # It serves the folder `models` of where it is started.
    command = ["env", "-C", str(made.folder.parent), sys.executable]
    command += ["-m", "uvicorn", "demo.seed_app:app", "--port", str(port)]
    env = {
        "PYTHONPATH": str(PROJECT),
        "TANDEM_CACHE_DIR": str(cache),
        "TANDEM_DATA_DIR": str(folder / "jobs"),
    }

    with running(command, port, folder / "log", **env) as server:
        async with httpx.AsyncClient(
            base_url=server.url, timeout=PATIENCE_SECONDS
        ) as client:
            await ready(client)
            yield client


async def test_a_frozen_graph_answers_later(client: httpx.AsyncClient) -> None:
    body = (PROJECT / "demo" / "digit.json").read_bytes()
    accepted = await client.post("/read", content=body)

    assert accepted.status_code == 202
    result = await client.get(
        accepted.json()["urls"]["result"], headers={"Prefer": "wait=60"}
    )
    assert result.json()["predictions"][0]["digit"] == 7


@pytest.mark.parametrize("features", [False, True])
async def test_a_keras_model_answers_at_once_with_a_layers_output(
    client: httpx.AsyncClient, features: bool
) -> None:
    body = json.loads((PROJECT / "demo" / "digit.json").read_text())
    answer = await client.post("/look?features=1" if features else "/look", json=body)

    assert answer.status_code == 200, answer.text
    assert max(answer.json()["probabilities"][0]) > 0.99
    assert [len(row) for row in answer.json().get("features", [])] == [64] * features


async def test_a_refusal_of_the_engine_is_a_response(client: httpx.AsyncClient) -> None:
    answer = await client.post("/look", json={"instances": [[1.0]]})

    assert answer.status_code == 400
    assert "image" in answer.json()["error"]


@pytest.mark.parametrize("body", [{"x": [[1]]}, [[1]], 1])
async def test_a_body_without_instances_is_the_clients_mistake(
    client: httpx.AsyncClient, body: object
) -> None:
    answer = await client.post("/look", json=body)

    assert answer.status_code == 400
    assert "instances" in answer.json()["error"]


async def test_our_own_routes_are_there(client: httpx.AsyncClient) -> None:
    models = (await client.get("/v1/models")).json()["models"]

    assert len(models) == 4
