"""The runner of jobs, where the store goes away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from service.jobs.job import JobResult, JobStatus
from service.jobs.jobs import Jobs
from service.jobs.redis import RedisStore
from service.jobs.runner import JobRunner, RunnerConfig
from tests.service.jobs.test_store import DONE, submission
from tests.support.redis_servers import running_redis

if TYPE_CHECKING:
    from pathlib import Path

    from service.jobs.job import JobRequest

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
            runner = JobRunner(jobs, call, lambda: [], config)
            job = await jobs.submit(sent)
            tasks.start_soon(runner.run)
            await called.wait()
            await anyio.to_thread.run_sync(redis.start)

            job = await jobs.wait_until_ended(job, 60)
            assert (job.status, job.attempts) == (JobStatus.SUCCEEDED, 1)
            assert left == []
            tasks.cancel_scope.cancel()
