from __future__ import annotations

import importlib.metadata

from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel


async def test_index() -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.get("/")
        document = response.json()
        answer = await client.post(
            document["models"][0]["predict"], json={"instances": [1.0]}
        )

    assert document["status"] == "alive"
    assert document["name"] == "tandem-serving"
    assert document["version"] == importlib.metadata.version("tandem-serving")
    assert "GET /readyz" in document["urls"]
    assert answer.json() == {"predictions": [2.5]}
    assert response.text.endswith("}\n")


async def test_index_has_the_engines_status_by_name() -> None:
    engine = FakeEngine(FakeModel())
    engine.unreadable = "EIO"
    async with make_client(engine) as client:
        document = (await client.get("/")).json()["engine"]

    assert document["memory_budget"] == 1 << 30
    assert document["reloads"] == 2
    assert document["repository_error"] == "EIO"
