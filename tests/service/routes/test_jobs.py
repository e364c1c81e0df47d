"""Asynchronous predictions over HTTP."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from service.app import create_app
from service.bridge.bridge import Bridge
from service.caching.cache import ResponseCache
from service.caching.memory import MemoryStore
from service.jobs.bounds import Bounds
from service.jobs.calls import call
from service.jobs.jobs import Jobs, JobsConfig
from service.jobs.large import Calls
from service.jobs.runner import JobRunner, RunnerConfig
from service.jobs.sqlite import SqliteStore
from service.routes.array_calls import ArrayCalls
from service.settings.settings import load_settings
from tests.support.fakes import FakeEngine, FakeModel, X

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


PREDICT = "/v1/models/half:predict"
BODY = {"instances": [1.0, 2.0]}
ANSWER = {"predictions": [2.5, 3.0]}
ASYNC = {"Prefer": "respond-async"}
UUID = "0a6e1fd2-3f0b-4b4c-9d5e-6a7b8c9d0e1f"


@asynccontextmanager
async def serving(
    folder: Path,
    *models: FakeModel,
    runs: bool = True,
    most: int = 1 << 32,
    cache: ResponseCache | None = None,
    **bounds: int,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a server with jobs; without `runs` they only queue.

    A body may have `most` bytes.
    """
    engine = FakeEngine(*(models or (FakeModel(),)))
    settings = load_settings(models="/")
    config = RunnerConfig(concurrency=1, poll_seconds=0.01)

    async with (
        Jobs(
            partial(SqliteStore, folder, Bounds(**bounds)), JobsConfig(body_bytes=most)
        ) as jobs,
        anyio.create_task_group() as tasks,
    ):
        app = create_app(engine, settings, None, jobs, cache)
        bridge = Bridge(app)
        calls = Calls(
            json=partial(call, bridge),
            busy=list,
            arrays=ArrayCalls(app, engine),
        )
        runner = JobRunner(jobs, calls, config)

        if runs:
            tasks.start_soon(runner.run)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(bridge), base_url="http://tandem"
        ) as client:
            yield client

        tasks.cancel_scope.cancel()


async def ended(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """Wait for a job's end by long polls."""
    seen: dict[str, str] = {}

    while True:
        response = await client.get(url, headers={"Prefer": "wait=30", **seen})
        job: dict[str, Any] = response.json()

        if job["status"] not in ("queued", "running"):
            return job

        seen = {"If-None-Match": response.headers["ETag"]}


async def test_a_prediction_is_answered_later(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        accepted = await client.post(PREDICT, json=BODY, headers=ASYNC)

        assert accepted.status_code == 202
        assert accepted.headers["Preference-Applied"] == "respond-async"
        assert accepted.headers["Retry-After"]
        place = accepted.headers["Location"]
        assert accepted.json()["urls"]["self"] == place

        job = await ended(client, place)
        result = await client.get(f"{place}/result")

    assert (job["status"], job["attempts"]) == ("succeeded", 1)
    assert job["progress"] == {"done": 1, "total": 1, "unit": "requests"}
    assert (result.status_code, result.json()) == (200, ANSWER)


async def test_the_result_is_that_of_the_synchronous_call(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        at_once = await client.post(PREDICT, json=BODY)
        later = await client.post(
            PREDICT, json=BODY, headers={"Prefer": "respond-async, wait=30"}
        )

    assert later.status_code == at_once.status_code == 200
    assert later.content == at_once.content
    assert later.headers["Content-Type"] == at_once.headers["Content-Type"]


async def test_the_result_has_no_age_of_the_response_cache(tmp_path: Path) -> None:
    model = FakeModel(cache_seconds=60, signatures=(replace(X, repeatable=True),))
    later = {"Prefer": "respond-async, wait=30"}

    async with serving(
        tmp_path, model, cache=ResponseCache(MemoryStore(1 << 20))
    ) as client:
        await client.post(PREDICT, json=BODY)
        result = await client.post(PREDICT, json=BODY, headers=later)
        again = await client.post(PREDICT, json=BODY)

    assert result.json() == ANSWER
    assert {"age", "cache-status"}.isdisjoint(result.headers)
    assert {"age", "cache-status"} <= set(again.headers)


@pytest.mark.parametrize(
    "url",
    [
        "/v1/models/half:predict",
        "/v1/models/half/versions/1:predict",
        "/v1/models/half/labels/stable:predict",
    ],
)
async def test_every_predict_url_has_it(tmp_path: Path, url: str) -> None:
    async with serving(tmp_path, FakeModel(labels=("stable",))) as client:
        accepted = await client.post(url, json=BODY, headers=ASYNC)
        await ended(client, accepted.headers["Location"])
        result = await client.get(accepted.json()["urls"]["result"])

    assert result.json() == ANSWER


@pytest.mark.parametrize(
    ("body", "url", "status"),
    [
        ({"instances": ["a"]}, PREDICT, 400),
        ({"instances": [1.0], "signature_name": "no"}, PREDICT, 400),
        ({}, PREDICT, 400),
        (BODY, "/v1/models/unknown:predict", 404),
    ],
)
async def test_bodies_that_a_synchronous_call_refuses_are_refused_now(
    tmp_path: Path, body: Any, url: str, status: int
) -> None:
    async with serving(tmp_path) as client:
        at_once = await client.post(url, json=body)
        later = await client.post(url, json=body, headers=ASYNC)
        jobs = (await client.get("/v1/jobs")).json()["jobs"]

    assert later.status_code == at_once.status_code == status
    assert later.json()["error"]
    assert jobs == []


@pytest.mark.parametrize(
    ("preference", "status", "applied"),
    [
        pytest.param(None, 202, None, id="nothing"),
        pytest.param("handling=lenient", 202, None, id="something-else"),
        pytest.param("respond-async", 202, "respond-async", id="the-same"),
        pytest.param("wait=30", 200, None, id="wait"),
        pytest.param(
            "respond-async, wait=30", 200, "respond-async, wait=30", id="both"
        ),
    ],
)
async def test_a_model_is_asynchronous_unless_the_client_waits(
    tmp_path: Path, preference: str | None, status: int, applied: str | None
) -> None:
    headers = {} if preference is None else {"Prefer": preference}

    async with serving(tmp_path, FakeModel(asynchronous=True)) as client:
        answer = await client.post(PREDICT, json=BODY, headers=headers)

        if answer.status_code == 202:
            job = await ended(client, answer.headers["Location"])
            result = await client.get(job["urls"]["result"])
        else:
            result = answer

        jobs = (await client.get("/v1/jobs")).json()["jobs"]

    assert (answer.status_code, answer.headers.get("Preference-Applied")) == (
        *(status, applied),
    )
    assert (result.status_code, result.json()) == (200, ANSWER)
    # The job's own call is no further job.
    assert len(jobs) == (preference != "wait=30")


async def test_a_wrong_body_for_an_asynchronous_model_is_refused_now(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path, FakeModel(asynchronous=True)) as client:
        refused = await client.post(PREDICT, json={"instances": ["a"]})

    assert refused.status_code == 400


async def test_a_result_that_is_not_there_yet(tmp_path: Path) -> None:
    async with serving(tmp_path, runs=False) as client:
        place = (await client.post(PREDICT, json=BODY, headers=ASYNC)).headers[
            "Location"
        ]
        result = await client.get(f"{place}/result")
        shown = await client.get(place)

    assert result.status_code == 202
    assert result.headers["Retry-After"] == shown.headers["Retry-After"]
    assert result.json()["status"] == "queued"


async def test_a_job_that_has_not_changed_is_not_sent_again(tmp_path: Path) -> None:
    async with serving(tmp_path, runs=False) as client:
        place = (await client.post(PREDICT, json=BODY, headers=ASYNC)).headers[
            "Location"
        ]
        tag = (await client.get(place)).headers["ETag"]
        again = await client.get(place, headers={"If-None-Match": tag})

    assert again.status_code == 304


async def test_a_waiting_client_hears_of_a_cancellation(tmp_path: Path) -> None:
    async with serving(tmp_path, runs=False) as client:
        place = (await client.post(PREDICT, json=BODY, headers=ASYNC)).headers[
            "Location"
        ]
        found: list[dict[str, Any]] = []

        async def wait() -> None:
            found.append(await ended(client, place))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            canceled = await client.post(f"{place}/cancel")

        result = await client.get(f"{place}/result")

    assert canceled.json()["status"] == found[0]["status"] == "canceled"
    assert result.status_code == 409


async def test_a_deleted_job_is_not_found(tmp_path: Path) -> None:
    async with serving(tmp_path) as client:
        place = (await client.post(PREDICT, json=BODY, headers=ASYNC)).headers[
            "Location"
        ]
        deleted = await client.delete(place)

        assert (deleted.status_code, deleted.content) == (204, b"")
        assert (await client.get(place)).status_code == 404
        assert (await client.delete(place)).status_code == 404


async def test_the_same_key_is_the_same_job(tmp_path: Path) -> None:
    keyed = {**ASYNC, "Idempotency-Key": '"mine"'}

    async with serving(tmp_path) as client:
        first = await client.post(PREDICT, json=BODY, headers=keyed)
        again = await client.post(PREDICT, json=BODY, headers=keyed)
        other = await client.post(PREDICT, json={"instances": [9.0]}, headers=keyed)

    assert first.json()["id"] == again.json()["id"]
    assert other.status_code == 422


async def test_a_client_chooses_the_id(tmp_path: Path) -> None:
    url = f"/v1/jobs/{uuid.uuid4()}"

    async with serving(tmp_path) as client:
        first = await client.put(url, json={"model": "half", **BODY})
        again = await client.put(url, json={"model": "half", **BODY})
        other = await client.put(url, json={"model": "half", "instances": [9.0]})
        await ended(client, url)
        result = await client.get(f"{url}/result")

    assert first.status_code == again.status_code == 202
    assert first.headers["Location"] == url
    assert other.status_code == 422
    assert result.json() == ANSWER


@pytest.mark.parametrize(
    ("id", "body", "wanted"),
    [
        ("mine", {"model": "half", **BODY}, "UUID"),
        (UUID, BODY, '"model"'),
        (UUID, {"model": "half", "version": "1", **BODY}, '"version"'),
        (UUID, {"model": "half", "instances": ["a"]}, "input 'x'"),
    ],
)
async def test_a_job_that_can_not_be_put(
    tmp_path: Path, id: str, body: Any, wanted: str
) -> None:
    async with serving(tmp_path) as client:
        response = await client.put(f"/v1/jobs/{id}", json=body)

    assert response.status_code == 400
    assert wanted in response.json()["error"]


async def test_a_busy_model_makes_a_job_wait_and_not_fail(tmp_path: Path) -> None:
    model = FakeModel(full=True)

    async with serving(tmp_path, FakeModel(name="other"), model, runs=False) as client:
        refused = await client.post(PREDICT, json=BODY, headers=ASYNC)

    assert refused.status_code == 429


async def test_jobs_over_the_bound_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, runs=False, jobs=1) as client:
        await client.post(PREDICT, json=BODY, headers=ASYNC)
        refused = await client.post(PREDICT, json=BODY, headers=ASYNC)

    assert refused.status_code == 429
    assert "--max-jobs" in refused.json()["error"]
    assert refused.headers["Retry-After"]


async def test_a_server_without_a_disk_answers_at_once_all_the_same(
    tmp_path: Path,
) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")

    async with serving(place, runs=False) as client:
        refused = await client.post(PREDICT, json=BODY, headers=ASYNC)
        at_once = await client.post(PREDICT, json=BODY)

    assert refused.status_code == 503
    assert refused.headers["Retry-After"]
    assert at_once.json() == ANSWER


async def test_jobs_are_listed_in_pages(tmp_path: Path) -> None:
    async with serving(tmp_path, runs=False) as client:
        for _ in range(3):
            await client.post(PREDICT, json=BODY, headers=ASYNC)

        first = (await client.get("/v1/jobs?limit=2")).json()
        rest = (await client.get(first["next"])).json()
        none = (await client.get("/v1/jobs?status=failed")).json()

    ids = [job["id"] for job in first["jobs"] + rest["jobs"]]
    assert len(set(ids)) == 3
    assert rest["next"] is None
    assert first["next"] == f"/v1/jobs?limit=2&before={ids[1]}"
    assert none == {"jobs": [], "next": None}


async def test_the_next_page_has_the_same_filters(tmp_path: Path) -> None:
    models = FakeModel(), FakeModel(name="other")

    async with serving(tmp_path, *models, runs=False) as client:
        for name in ("half", "other", "half"):
            await client.post(f"/v1/models/{name}:predict", json=BODY, headers=ASYNC)

        first = (await client.get("/v1/jobs?model=half&limit=1")).json()
        rest = (await client.get(first["next"])).json()

    assert [job["model"] for job in first["jobs"] + rest["jobs"]] == ["half", "half"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "status=done"])
async def test_a_list_that_can_not_be_had(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path) as client:
        response = await client.get(f"/v1/jobs?{query}")

    assert response.status_code == 400


async def test_unknown_jobs_are_not_found(tmp_path: Path) -> None:
    url = f"/v1/jobs/{uuid.uuid4()}"

    async with serving(tmp_path) as client:
        for path, method in (
            (url, "GET"),
            (f"{url}/result", "GET"),
            (f"{url}/cancel", "POST"),
            (url, "DELETE"),
        ):
            assert (await client.request(method, path)).status_code == 404


async def test_metrics_count_jobs_by_status(tmp_path: Path) -> None:
    async with serving(tmp_path, runs=False) as client:
        await client.post(PREDICT, json=BODY, headers=ASYNC)
        text = (await client.get("/metrics")).text

    assert 'tandem_jobs{status="queued"} 1.0' in text
    assert 'tandem_jobs{status="failed"} 0.0' in text
    assert "tandem_job_store_up 1.0" in text
    assert "tandem_jobs_oldest_queued_seconds" in text


async def test_metrics_tell_a_store_that_can_not_be_read(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("no folder")

    async with serving(place, runs=False) as client:
        text = (await client.get("/metrics")).text

    assert "tandem_job_store_up 0.0" in text
    assert "tandem_jobs{" not in text


async def test_a_failing_call_is_a_failed_job_with_its_answer(tmp_path: Path) -> None:
    def fail(inputs: Any) -> Any:
        raise RuntimeError("no")

    async with serving(tmp_path, FakeModel(function=fail)) as client:
        accepted = await client.post(PREDICT, json=BODY, headers=ASYNC)
        job = await ended(client, accepted.headers["Location"])
        result = await client.get(job["urls"]["result"])

    assert job["status"] == "failed"
    assert result.status_code == 500
    assert result.json()["error"] == job["error"]


async def test_examples_may_be_answered_later(tmp_path: Path) -> None:
    body = {"examples": [{"x": [2.0]}]}
    url = "/v1/models/half:regress"

    async with serving(tmp_path) as client:
        accepted = await client.post(url, json=body, headers=ASYNC)
        job = await ended(client, accepted.headers["Location"])
        result = await client.get(job["urls"]["result"])
        refused = await client.post(url, json={"examples": [{}]}, headers=ASYNC)

    assert (accepted.status_code, refused.status_code) == (202, 400)
    assert job["status"] == "succeeded"
    assert result.json() == {"results": [3.0]}
