"""A server with jobs, whose engine is a fake, for a real uvicorn."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio

from service.app import create_app
from service.bridge.bridge import Bridge
from service.jobs.calls import call
from service.jobs.jobs import Jobs
from service.jobs.large import Calls
from service.jobs.runner import JobRunner, RunnerConfig
from service.jobs.sqlite import SqliteStore
from service.routes.array_calls import ArrayCalls
from service.routes.job_events import COMMENT_SECONDS, JobEvents
from service.settings.settings import load_settings
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


def make_job_app(
    folder: Path,
    *models: FakeModel,
    runs: bool = True,
    comment_seconds: float = COMMENT_SECONDS,
) -> JobEvents:
    """Return an application that keeps jobs in `folder`; without `runs` they queue."""
    engine = FakeEngine(*(models or (FakeModel(),)))
    jobs = Jobs(partial(SqliteStore, folder))

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        async with jobs, anyio.create_task_group() as tasks:
            if runs:
                tasks.start_soon(runner.run)

            yield
            tasks.cancel_scope.cancel()

    app = create_app(engine, load_settings(models="/"), None, jobs)
    bridge = Bridge(app, lifespan)
    config = RunnerConfig(concurrency=1, poll_seconds=0.01)
    calls = Calls(
        json=partial(call, bridge),
        busy=list,
        arrays=ArrayCalls(app, engine),
    )
    runner = JobRunner(jobs, calls, config)
    return JobEvents(bridge, jobs, comment_seconds=comment_seconds)
