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

    assert document["name"] == "tandem-serving"
    assert document["version"] == importlib.metadata.version("tandem-serving")
    assert "GET /readyz" in document["urls"]
    assert answer.json() == {"predictions": [2.5]}
    assert response.text.endswith("}\n")
