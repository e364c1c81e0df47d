from __future__ import annotations

import pytest

from inference import ModelState
from tests.support.clients import make_client
from tests.support.fakes import FakeEngine, FakeModel

LOADING = FakeModel(name="slow", state=ModelState.LOADING)
BROKEN = FakeModel(name="broken", state=ModelState.END, error="no such layer")


async def test_alive_while_models_load() -> None:
    async with make_client(FakeEngine(LOADING)) as client:
        response = await client.get("/livez")

    assert (response.status_code, response.json()) == (200, {"alive": True})


@pytest.mark.parametrize("path", ["/livez", "/v2/health/live"])
async def test_dead_once_the_engine_is(path: str) -> None:
    engine = FakeEngine()
    async with make_client(engine) as client:
        before = await client.get(path)
        engine.living = False
        after = await client.get(path)

    assert (before.status_code, after.status_code) == (200, 503)


async def test_started_when_every_model_has_settled() -> None:
    model = FakeModel(name="slow", state=ModelState.LOADING)
    async with make_client(FakeEngine(model, BROKEN)) as client:
        before = await client.get("/startupz")
        model.state = ModelState.AVAILABLE
        after = await client.get("/startupz")

    assert before.status_code == 503
    assert before.json() == {"started": False, "reason": "still loading: slow/1"}
    assert (after.status_code, after.json()) == (200, {"started": True})


async def test_not_ready_until_every_model_has_settled() -> None:
    model = FakeModel(name="slow", state=ModelState.LOADING, stage="verifying")
    async with make_client(FakeEngine(FakeModel(), model)) as client:
        before = await client.get("/readyz")
        model.state = ModelState.AVAILABLE
        after = await client.get("/readyz")

    assert (before.status_code, after.status_code) == (503, 200)
    assert before.json()["models"]["slow/1"] == {
        "state": "LOADING",
        "stage": "verifying",
        "error": None,
    }
    assert after.json()["ready"] is True


async def test_a_broken_model_is_shown_and_blocks_nothing() -> None:
    async with make_client(FakeEngine(FakeModel(), BROKEN)) as client:
        response = await client.get("/readyz")

    assert response.status_code == 200
    assert response.json()["models"]["broken/1"]["error"] == "no such layer"


async def test_a_file_name_that_is_not_text() -> None:
    model = FakeModel(state=ModelState.END, error="no \udcff.h5")
    async with make_client(FakeEngine(model)) as client:
        response = await client.get("/readyz")

    assert response.json()["models"]["half/1"]["error"] == "no \udcff.h5"


async def test_head() -> None:
    async with make_client(FakeEngine(LOADING)) as client:
        response = await client.head("/readyz")

    assert (response.status_code, response.content) == (503, b"")
