"""The page's documents over HTTP, and their events by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from inference import ModelState
from service.app import create_app
from service.bridge.bridge import Bridge
from service.jobs.bounds import Bounds
from service.jobs.jobs import Jobs
from service.jobs.sqlite import SqliteStore
from service.routes.overview import FEED
from service.routes.overview_events import URL, OverviewEvents
from service.server.limits import SERVER
from service.settings.settings import load_settings
from tests.support.clients import make_app, make_client, open_client
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.servers import GONE, HandDriven, body_message

if TYPE_CHECKING:
    from pathlib import Path

ASYNC = {"Prefer": "respond-async"}


async def test_overview_of_models() -> None:
    broken = FakeModel(name="broken", state=ModelState.END, error="no such operation")
    async with make_client(FakeEngine(FakeModel(), broken)) as client:
        await client.post("/v1/models/half:predict", json={"instances": [1.0]})
        response = await client.get("/v1/overview")

    document = response.json()
    assert response.headers["Cache-Control"] == "no-store"
    assert [each["name"] for each in document["models"]] == ["broken", "half"]
    [failed], [half] = (each["versions"] for each in document["models"])
    assert failed["error"] == "no such operation"
    assert half["inputs"].startswith("x: float32")
    assert document["server"]["memory_budget_bytes"] == 1 << 30
    assert not document["server"]["admin"]


async def test_overview_has_active_jobs(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, Bounds(jobs=5, nbytes=10_000))
    settings = load_settings(models="/")
    async with Jobs(lambda: store) as jobs:
        app = create_app(FakeEngine(FakeModel()), settings, jobs=jobs)
        async with open_client(app) as client:
            await client.post(
                "/v1/models/half:predict", json={"instances": [1.0]}, headers=ASYNC
            )
            document = (await client.get("/v1/overview")).json()

    assert document["jobs"]["counts"]["queued"] == 1
    [job] = document["jobs"]["active"]
    assert job["progress"] == {"done": 0, "total": 1, "unit": "requests"}


async def test_report_of_a_model() -> None:
    engine = FakeEngine(FakeModel(labels=("stable",)))
    async with make_client(engine) as client:
        answers = [
            await client.get(f"/v1/models/half{place}/report")
            for place in ("", "/versions/1", "/labels/stable")
        ]
        missing = await client.get("/v1/models/none/report")

    first = answers[0].json()
    assert [each.json() for each in answers] == [first] * 3
    assert missing.status_code == 404
    [signature] = first["signatures"]
    assert signature["inputs"][0]["name"] == "x"
    assert signature["inputs"][0]["required"]
    assert first["report"]["optimization"] == "full"


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
async def test_root_is_json_for_programs(accept: str) -> None:
    async with make_client(FakeEngine(FakeModel())) as client:
        response = await client.get("/", headers={"Accept": accept})

    assert response.json()["status"] == "alive"
    assert "Accept" in response.headers["Vary"]


async def listen(engine: FakeEngine) -> tuple[HandDriven, Any]:
    """Return a server with one listener, and the feed that the test drives."""
    app = make_app(engine)
    feed = app.extensions[FEED]
    server = HandDriven(OverviewEvents(Bridge(app), feed), path=URL)
    server.put(body_message(b""))
    return server, feed


async def test_events_are_sent_until_the_client_leaves() -> None:
    server, feed = await listen(FakeEngine(FakeModel()))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        while len(server.sent) < 2:
            await anyio.lowlevel.checkpoint()

        await feed.take()
        while len(server.sent) < 3:
            await anyio.lowlevel.checkpoint()

        assert feed.listeners == 1
        server.put(GONE)

    # Nobody looks: readings are seldom again.
    assert feed.listeners == 0
    kinds = dict(server.sent[0]["headers"])
    assert kinds[b"content-type"].startswith(b"text/event-stream")
    assert b"content-length" not in kinds
    first, second = (each["body"].split(b"\n") for each in server.sent[1:3])
    assert (first[0], second[0]) == (b"event: overview", b"event: change")
    assert json.loads(first[1].removeprefix(b"data: "))["models"]


async def test_a_server_that_stops_ends_the_events() -> None:
    server, feed = await listen(FakeEngine(FakeModel()))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        while len(server.sent) < 2:
            await anyio.lowlevel.checkpoint()

        server.scope["state"] = {SERVER: SimpleNamespace(ending=True)}
        await feed.take()

    assert server.sent[-1] == {
        "type": "http.response.body",
        "body": b"",
        "more_body": False,
    }
