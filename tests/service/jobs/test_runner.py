"""The runner of jobs, where it is stopped, and where the store goes away."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from service.jobs.job import JobResult, JobStatus
from service.jobs.jobs import Jobs
from service.jobs.large import Calls
from service.jobs.redis import RedisStore
from service.jobs.runner import JobRunner, RunnerConfig
from service.jobs.sqlite import SqliteStore
from service.jobs.store import PieceStore
from tests.service.jobs.test_store import DONE, submission
from tests.support.redis_servers import running_redis

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from service.jobs.job import Claim, JobRequest

LATER = JobResult(status=503, headers={"retry-after": "0"}, body=b"{}")


@pytest.mark.parametrize("answers", [[DONE], [LATER, DONE]], ids=["done", "later"])
async def test_a_job_ends_once_though_the_store_was_away_meanwhile(
    tmp_path: Path, answers: list[JobResult]
) -> None:
    """Its answer isn't lost, nor is its server taken for dead."""
    sent, left = submission(), list(answers)
    called = anyio.Event()

    with running_redis(tmp_path / "redis") as redis:

        async def call(request: JobRequest, id: str) -> JobResult:
            if not called.is_set():
                redis.kill()
                called.set()

            return left.pop(0)

        async with (
            Jobs(partial(RedisStore, redis.url, answer_seconds=60)) as jobs,
            anyio.create_task_group() as tasks,
        ):
            config = RunnerConfig(concurrency=1, poll_seconds=0.01)
            runner = JobRunner(jobs, Calls(json=call, busy=list), config)
            job = await jobs.submit(sent)
            tasks.start_soon(runner.run)
            await called.wait()
            await anyio.to_thread.run_sync(redis.start)

            job = await jobs.wait_until_ended(job, 60)
            assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 1)
            assert left == []
            tasks.cancel_scope.cancel()


async def test_large_work_goes_on_though_the_store_was_away_meanwhile(
    tmp_path: Path,
) -> None:
    called = anyio.Event()
    made = submission(b"")
    headers = {"content-type": "application/x-ndjson"}
    request = replace(made.request, headers=headers, kept_bytes=2)

    with running_redis(tmp_path / "redis") as redis:

        async def call(request: JobRequest, id: str) -> JobResult:
            if not called.is_set():
                redis.kill()
                called.set()

            return DONE

        async with (
            Jobs(partial(RedisStore, redis.url, answer_seconds=60)) as jobs,
            anyio.create_task_group() as tasks,
        ):
            store = await jobs.store()
            assert isinstance(store, PieceStore)
            await store.keep_body(made.id, 0, b"1\n")
            job = await jobs.submit(replace(made, request=request))
            config = RunnerConfig(concurrency=1, poll_seconds=0.01)
            tasks.start_soon(JobRunner(jobs, Calls(json=call, busy=list), config).run)
            await called.wait()
            await anyio.to_thread.run_sync(redis.start)

            job = await jobs.wait_until_ended(job, 60)
            assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 1)
            assert await store.result_piece(job.id, 0, 100) == b"2\n"
            tasks.cancel_scope.cancel()


class Halting(SqliteStore):
    """Waits at the end of one verb until it may go on."""

    def __init__(self, folder: Path, verb: str) -> None:
        super().__init__(folder)
        self._verb = verb
        self.reached, self.going_on = anyio.Event(), anyio.Event()

    async def halt(self, verb: str) -> None:
        if verb == self._verb:
            self.reached.set()
            await self.going_on.wait()

    async def claim(
        self, worker: str, *, lease_seconds: float, skip: Sequence[str] = ()
    ) -> Claim | None:
        claim = await super().claim(worker, lease_seconds=lease_seconds, skip=skip)
        await self.halt("claim")
        return claim

    async def request(self, id: str) -> JobRequest:
        request = await super().request(id)
        await self.halt("request")
        return request

    async def complete(
        self, claim: Claim, result: JobResult, *, error: str | None = None
    ) -> bool:
        await self.halt("complete")
        return await super().complete(claim, result, error=error)


@pytest.mark.parametrize("verb", ["claim", "request", "call", "complete"])
async def test_a_runner_that_is_stopped_gives_its_job_back(
    tmp_path: Path, verb: str
) -> None:
    sent, store = submission(), Halting(tmp_path, verb)

    async def call(request: JobRequest, id: str) -> JobResult:
        await store.halt("call")
        return DONE

    async with Jobs(lambda: store) as jobs:
        await jobs.submit(sent)

        async with anyio.create_task_group() as tasks:
            config = RunnerConfig(concurrency=1)
            tasks.start_soon(JobRunner(jobs, Calls(json=call, busy=list), config).run)
            await store.reached.wait()
            tasks.cancel_scope.cancel()
            store.going_on.set()

        job = await store.get(sent.id)
        assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
