"""Server-sent events of jobs, over a real uvicorn on the test's own loop."""

from __future__ import annotations

import json
import socket
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import uvicorn

import service.jobs.events
from service.app import create_app
from service.bridge.bridge import STREAM_THREADS, Bridge
from service.jobs.job import JobResult
from service.jobs.jobs import Jobs, JobsConfig
from service.jobs.sqlite import SqliteStore
from service.routes.job_events import COMMENT_SECONDS, JobEvents
from service.server.process import ServerProcess
from service.server.protocol import JsonErrorProtocol
from service.settings.settings import load_settings
from tests.support.fakes import FakeEngine, FakeModel
from tests.support.servers import http_scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from service.jobs.job import Claim
    from service.jobs.store import JobStore

PREDICT = "/v1/models/half:predict"
BODY = {"instances": [1.0, 2.0]}
RESULT = JobResult(status=200, headers={}, body=b"{}")


class Site:
    """A server whose jobs the test runs by hand, and a client of it."""

    def __init__(
        self, client: httpx.AsyncClient, store: JobStore, server: uvicorn.Server
    ) -> None:
        self.client = client
        self.store = store
        self.server = server

    async def submit(self) -> dict[str, Any]:
        headers = {"Prefer": "respond-async"}
        response = await self.client.post(PREDICT, json=BODY, headers=headers)
        job: dict[str, Any] = response.json()
        return job

    async def claim(self) -> Claim:
        claim = await self.store.claim("the test", lease_seconds=60)
        assert claim is not None
        return claim

    @asynccontextmanager
    async def events(
        self, job: dict[str, Any], seen: str | None = None
    ) -> AsyncIterator[Events]:
        headers = {} if seen is None else {"Last-Event-ID": seen}
        url = job["urls"]["events"]

        async with self.client.stream("GET", url, headers=headers) as response:
            yield Events(response)


class Events:
    """The events of one response, one after another."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """Return an event with its data decoded, `comment` or, at the end, nothing."""
        found: dict[str, Any] = {}

        async for line in self._lines:
            if not line:
                return found

            name, _, value = line.partition(": ")
            found[name or "comment"] = json.loads(value) if name == "data" else value

        return found


def make_app(jobs: Jobs, comment_seconds: float = COMMENT_SECONDS) -> JobEvents:
    settings = load_settings(models="/")
    bridge = Bridge(create_app(FakeEngine(FakeModel()), settings, None, jobs))
    return JobEvents(bridge, jobs, comment_seconds=comment_seconds)


@asynccontextmanager
async def serving(
    folder: Path,
    *,
    comment_seconds: float = COMMENT_SECONDS,
    config: JobsConfig | None = None,
) -> AsyncIterator[Site]:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async with (
        Jobs(partial(SqliteStore, folder), config) as jobs,
        anyio.create_task_group() as tasks,
    ):
        server = ServerProcess(
            uvicorn.Config(
                make_app(jobs, comment_seconds),
                http=JsonErrorProtocol,
                lifespan="off",
                log_config=None,
            )
        )
        tasks.start_soon(server.serve, [listener])

        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            yield Site(client, await jobs.store(), server)

        server.should_exit = True


async def test_a_client_hears_of_start_progress_and_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        job = await site.submit()

        async with site.events(job) as events:
            claim = await site.claim()
            start = await events.next()
            await site.store.advance(claim, 1)
            progress = await events.next()
            await site.store.complete(claim, RESULT)
            completed = await events.next()
            end = await events.next()

        shown = (await site.client.get(job["urls"]["self"])).json()

    assert [each["event"] for each in (start, progress, completed)] == [
        "start",
        "progress",
        "completed",
    ]
    assert [each["id"] for each in (start, progress, completed)] == ["2", "3", "4"]
    assert start["data"]["status"] == "running"
    assert progress["data"]["progress"]["done"] == 1
    assert completed["data"] == shown
    assert end == {}


async def test_the_head_is_that_of_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        async with site.events(await site.submit()) as events:
            headers = events.response.headers
            await site.store.complete(await site.claim(), RESULT)

    assert headers["Content-Type"].startswith("text/event-stream")
    assert headers["X-Accel-Buffering"] == "no"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Request-ID"]
    assert "Content-Length" not in headers


async def test_progress_is_not_told_too_often_but_the_end_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.jobs.events, "PROGRESS_SECONDS", 3600.0)

    async with serving(tmp_path) as site:
        async with site.events(await site.submit()) as events:
            claim = await site.claim()
            await events.next()
            await site.store.advance(claim, 1)
            names = [(await events.next())["event"]]
            await site.store.advance(claim, 2)
            await site.store.advance(claim, 3)
            await site.store.complete(claim, RESULT)
            names.append((await events.next())["event"])

    assert names == ["progress", "completed"]


async def test_a_client_that_comes_again_hears_only_what_is_new(
    tmp_path: Path,
) -> None:
    async with serving(tmp_path) as site:
        job = await site.submit()
        claim = await site.claim()

        async with site.events(job) as events:
            start = await events.next()

        async with site.events(job, seen=start["id"]) as events:
            await site.store.advance(claim, 1)
            again = await events.next()
            await site.store.complete(claim, RESULT)
            completed = await events.next()

        async with site.events(job, seen=again["id"]) as events:
            missed = await events.next()

        async with site.events(job, seen=completed["id"]) as events:
            nothing = events.response.status_code

    assert (again["event"], completed["event"]) == ("progress", "completed")
    assert missed == completed
    assert nothing == 204


async def test_an_id_of_another_kind_is_ignored(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        job = await site.submit()
        await site.claim()

        async with site.events(job, seen="-1x") as events:
            assert (await events.next())["event"] == "start"


async def test_a_comment_is_sent_while_nothing_happens(tmp_path: Path) -> None:
    async with serving(tmp_path, comment_seconds=0.0) as site:
        async with site.events(await site.submit()) as events:
            comments = [await events.next(), await events.next()]
            await site.claim()

            while "event" not in (event := await events.next()):
                pass

    assert comments == [{"comment": "waiting"}] * 2
    assert event["event"] == "start"


async def test_the_stream_ends_when_the_job_is_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        job = await site.submit()

        async with site.events(job) as events:
            await site.client.delete(job["urls"]["self"])
            assert await events.next() == {}

        gone = await site.client.get(job["urls"]["events"])

    assert gone.status_code == 404


async def test_unknown_and_expired_jobs_are_told_as_elsewhere(tmp_path: Path) -> None:
    async with serving(tmp_path, config=JobsConfig(result_seconds=0.0)) as site:
        unknown = await site.client.get(f"/v1/jobs/{uuid.uuid4()}/events")
        job = await site.submit()
        await site.store.complete(await site.claim(), RESULT)
        expired = await site.client.get(job["urls"]["events"])

    assert unknown.status_code == 404
    assert "There is no job" in unknown.json()["error"]
    assert expired.status_code == 410
    assert "expired" in expired.json()["error"]


async def test_clients_that_wait_hold_no_thread(tmp_path: Path) -> None:
    async with serving(tmp_path) as site, AsyncExitStack() as stack:
        job = await site.submit()
        streams = [
            await stack.enter_async_context(site.events(job))
            for _ in range(STREAM_THREADS + 5)
        ]
        claim = await site.claim()

        # All of them at the same time: none waits for the end of another.
        names = {(await events.next())["event"] for events in streams}
        await site.store.complete(claim, RESULT)

    assert names == {"start"}


async def test_a_server_that_stops_ends_the_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as site:
        async with site.events(await site.submit()) as events:
            site.server.should_exit = True
            assert await events.next() == {}


async def test_nothing_is_left_of_a_client_that_has_gone(tmp_path: Path) -> None:
    messages, waiting = anyio.create_memory_object_stream[dict[str, Any]](1)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            messages.send_nowait({"type": "http.disconnect"})

    async with Jobs(partial(SqliteStore, tmp_path)) as jobs, messages, waiting:
        app = make_app(jobs)

        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://tandem"
        ) as client:
            headers = {"Prefer": "respond-async"}
            job = (await client.post(PREDICT, json=BODY, headers=headers)).json()

        with anyio.fail_after(60):
            await app(http_scope(path=job["urls"]["events"]), waiting.receive, send)
