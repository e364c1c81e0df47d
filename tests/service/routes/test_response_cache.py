"""Answers given again, over HTTP."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from service.app import create_app
from service.bridge.bridge import Bridge
from service.caching.cache import ResponseCache
from service.caching.memory import MemoryStore
from service.settings.settings import load_settings
from tests.support.fakes import FakeEngine, FakeModel, X

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREDICT = "/v1/models/half:predict"
BODY = {"instances": [1.0, 2.0]}
ANSWER = {"predictions": [2.5, 3.0]}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def cached_model(**fields: Any) -> FakeModel:
    signatures = (replace(X, repeatable=True),)
    return FakeModel(**{"cache_seconds": 60, "signatures": signatures, **fields})


@asynccontextmanager
async def serving(
    *models: FakeModel, clock: Clock | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, FakeEngine]]:
    engine = FakeEngine(*models)
    store = MemoryStore(1 << 20, clock or Clock())

    async with ResponseCache(store) as cache:
        app = create_app(engine, load_settings(models="/"), cache=cache)
        transport = httpx.ASGITransport(Bridge(app))

        async with httpx.AsyncClient(
            transport=transport, base_url="http://tandem"
        ) as client:
            yield client, engine


async def test_an_equal_request_has_the_same_answer_without_the_model() -> None:
    clock = Clock()

    async with serving(cached_model(), clock=clock) as (client, engine):
        first = await client.post(PREDICT, json=BODY)
        clock.now = 17.9
        again = await client.post(PREDICT, content=b' { "instances":[1, 2.00] } ')

    assert first.json() == ANSWER
    assert again.content == first.content
    assert first.headers["Cache-Status"] == "Tandem; fwd=miss; stored"
    assert "Age" not in first.headers
    assert again.headers["Cache-Status"] == "Tandem; hit; ttl=42"
    assert "Server-Timing" in first.headers
    # No model ran for it.
    assert "Server-Timing" not in again.headers
    assert first.headers["X-Model-Version"] == again.headers["X-Model-Version"] == "1"
    assert again.headers["Age"] == "17"
    assert again.headers["Content-Type"] == "application/json"
    assert len(engine.requests) == 1


async def test_rows_and_columns_have_answers_of_their_own() -> None:
    async with serving(cached_model()) as (client, _):
        rows = await client.post(PREDICT, json=BODY)
        columns = await client.post(PREDICT, json={"inputs": BODY["instances"]})

    assert rows.json() == ANSWER
    assert columns.json() == {"outputs": ANSWER["predictions"]}


async def test_a_model_without_seconds_is_not_cached() -> None:
    async with serving(FakeModel()) as (client, engine):
        answers = [await client.post(PREDICT, json=BODY) for _ in range(2)]

    assert len(engine.requests) == 2
    assert not any("Cache-Status" in each.headers for each in answers)


@pytest.mark.parametrize(
    ("sent", "status", "said", "runs"),
    [
        ("no-cache", 200, "Tandem; fwd=request; stored", 2),
        ("No-Cache, foo=bar", 200, "Tandem; fwd=request; stored", 2),
        ("no-store", 200, "Tandem; fwd=request", 2),
        ("max-age=0", 200, "Tandem; fwd=request; stored", 2),
        ("max-age=10", 200, "Tandem; hit; ttl=50", 1),
        ('max-age="10"', 200, "Tandem; hit; ttl=50", 1),
        ("max-age=soon", 200, "Tandem; fwd=request; stored", 2),
        ("max-age", 200, "Tandem; fwd=request; stored", 2),
        ("max-age=-1", 200, "Tandem; fwd=request; stored", 2),
        ("min-fresh=50", 200, "Tandem; hit; ttl=50", 1),
        ("min-fresh=51", 200, "Tandem; fwd=request; stored", 2),
        ("max-stale=5", 200, "Tandem; hit; ttl=50", 1),
        ("only-if-cached", 200, "Tandem; hit; ttl=50", 1),
        ("only-if-cached, max-age=9", 504, None, 1),
        (",,=;", 200, "Tandem; hit; ttl=50", 1),
    ],
)
async def test_the_clients_cache_control_is_honoured(
    sent: str, status: int, said: str | None, runs: int
) -> None:
    clock = Clock()

    async with serving(cached_model(), clock=clock) as (client, engine):
        await client.post(PREDICT, json=BODY)
        clock.now = 10.0
        answer = await client.post(PREDICT, json=BODY, headers={"Cache-Control": sent})

    assert (answer.status_code, answer.headers.get("Cache-Status")) == (status, said)
    assert len(engine.requests) == runs


async def test_only_if_cached_without_an_answer_says_what_to_do() -> None:
    async with serving(cached_model()) as (client, engine):
        refused = await client.post(
            PREDICT, json=BODY, headers={"Cache-Control": "only-if-cached"}
        )

    assert refused.status_code == 504
    assert "only-if-cached" in refused.json()["error"]
    assert engine.requests == []


async def test_a_new_version_never_gives_an_old_answer() -> None:
    old = cached_model()
    new = cached_model(
        version=2, digest="second", function=lambda inputs: {"y": inputs["x"]}
    )

    async with serving(old) as (client, engine):
        before = await client.post(PREDICT, json=BODY)
        engine.found = [new]
        await engine.rescan()
        after = await client.post(PREDICT, json=BODY)
        still = await client.post("/v1/models/half/versions/1:predict", json=BODY)

    assert before.json() == still.json() == ANSWER
    assert after.json() == {"predictions": BODY["instances"]}
    assert still.headers["Cache-Status"].startswith("Tandem; hit")


async def test_errors_are_not_kept() -> None:
    failures = iter([RuntimeError("once"), None])

    def function(inputs: Any) -> dict[str, Any]:
        if failure := next(failures):
            raise failure

        return {"y": inputs["x"]}

    async with serving(cached_model(function=function)) as (client, engine):
        failed = await client.post(PREDICT, json=BODY)
        well = await client.post(PREDICT, json=BODY)
        wrong = [
            await client.post(PREDICT, json={"instances": ["a"]}) for _ in range(2)
        ]

    assert (failed.status_code, well.status_code) == (500, 200)
    assert {each.status_code for each in wrong} == {400}
    assert well.headers["Cache-Status"] == "Tandem; fwd=miss; stored"


async def test_equal_requests_at_a_time_run_the_model_once() -> None:
    model = cached_model(gate=anyio.Event())
    answers: list[httpx.Response] = []

    async with serving(model) as (client, engine):

        async def one() -> None:
            answers.append(await client.post(PREDICT, json=BODY))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(one)

            await anyio.wait_all_tasks_blocked()
            assert model.gate is not None
            model.gate.set()

    assert len(engine.requests) == 1
    assert [each.json() for each in answers] == [ANSWER] * 10
    said = [each.headers["Cache-Status"] for each in answers]
    assert said.count("Tandem; fwd=miss; collapsed") == 9


async def test_kept_answers_are_given_while_the_queue_is_full() -> None:
    model = cached_model()

    async with serving(model) as (client, _):
        await client.post(PREDICT, json=BODY)
        model.full = True
        kept = await client.post(PREDICT, json=BODY)
        other = await client.post(PREDICT, json={"instances": [3.0]})

    assert (kept.status_code, kept.json()) == (200, ANSWER)
    assert other.status_code == 429
    assert "Retry-After" in other.headers


async def test_a_model_that_does_not_answer_has_no_stored_answers() -> None:
    model = cached_model()

    async with serving(model) as (client, _):
        await client.post(PREDICT, json=BODY)
        model.error = "broken"
        refused = await client.post(PREDICT, json=BODY)

    assert refused.status_code == 503


async def test_the_metrics_tell_how_often_answers_are_found() -> None:
    async with serving(cached_model()) as (client, _):
        for value in (1, 1, 1, 2):
            await client.post(PREDICT, json={"instances": [value]})

        text = (await client.get("/metrics")).text

    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    outcomes = {
        name: float(lines[f'tandem_response_cache_requests_total{{outcome="{name}"}}'])
        for name in ("hit", "miss", "collapsed", "request", "bypass")
    }
    assert outcomes == {"hit": 2, "miss": 2, "collapsed": 0, "request": 0, "bypass": 0}
    assert float(lines["tandem_response_cache_entries"]) == 2
    assert float(lines["tandem_response_cache_bytes"]) > len(json.dumps(ANSWER))
    assert float(lines["tandem_response_cache_up"]) == 1
