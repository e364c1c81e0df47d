"""Runs jobs: claims them from the store, makes their calls, keeps their results."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from inference import background_calls
from service.jobs.answers import TRY_LATER, error_of, pause_of
from service.jobs.large import Calls, Chunks, LargeRun
from service.jobs.store import JobError, PieceStore, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from service.jobs.job import Claim, JobRequest, JobResult
    from service.jobs.jobs import Jobs

    Answer = Callable[[Claim, JobRequest], Awaitable[JobResult | None]]

log = structlog.get_logger("tandem.jobs")

_RENEWALS = 4
_PURGE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerConfig:
    """Settings of the workers of one process.

    It runs `concurrency` jobs at a time, and looks for those of other servers every
    `poll_seconds`. Another server takes a job over once its lease of `lease_seconds`
    hasn't been renewed. Large work is cut into `chunks`.
    """

    concurrency: int = 2
    poll_seconds: float = 0.5
    lease_seconds: float = 30.0
    chunks: Chunks = field(default_factory=Chunks)


class JobRunner:
    """The workers of one process; `run` them in a task group.

    `calls` make a job's request. Jobs give way to the synchronous requests of busy
    models. `around` returns what runs in place of the function that answers a job,
    and calls that.
    """

    def __init__(
        self,
        jobs: Jobs,
        calls: Calls,
        config: RunnerConfig | None = None,
        around: Callable[[Answer], Answer] | None = None,
    ) -> None:
        self._jobs = jobs
        self._calls = calls
        self._config = config or RunnerConfig()
        self._answer_job = self._answer if around is None else around(self._answer)
        self._away = False
        self._worker = f"{socket.gethostname()}:{os.getpid()}"

    async def run(self) -> None:
        """Run jobs until cancelled; what runs then is given back to the store."""
        with background_calls():
            await self._run_all()

    async def _run_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._purge)

            for _ in range(self._config.concurrency):
                tasks.start_soon(self._work)

    async def _work(self) -> None:
        while True:
            try:
                pause = await self._run_one()
                self._note(None)
            except StoreUnavailable as exc:
                self._note(exc)
                pause = self._config.poll_seconds

            if pause is None:
                await self._jobs.wait_for_work(self._config.poll_seconds)
            elif pause:
                await anyio.sleep(pause)

    def _note(self, reason: StoreUnavailable | None) -> None:
        """Log that the store is away, or there again, once each."""
        if reason is not None and not self._away:
            log.warning("job store unavailable", reason=str(reason))
        elif reason is None and self._away:
            log.info("job store available")

        self._away = reason is not None

    async def _run_one(self) -> float | None:
        """Run a job; return the seconds to pause, `None` if there was no job."""
        store = await self._jobs.store()

        # A claim whose answer is lost would last until its lease is over.
        with anyio.CancelScope(shield=True):
            claim = await store.claim(
                self._worker,
                lease_seconds=self._config.lease_seconds,
                skip=self._calls.busy(),
            )

        if claim is None:
            return None

        try:
            return await self._run(claim)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await store.give_back(claim)

            raise

    async def _run(self, claim: Claim) -> float:
        store = await self._jobs.store()

        try:
            request = await store.request(claim.job.id)
        except StoreUnavailable:
            await self._insist(claim, partial(store.give_back, claim))
            return 0.0
        except JobError:
            # It was deleted just now.
            return 0.0

        result = await self._called(claim, request)

        if result is None:
            return 0.0

        if result.status in TRY_LATER:
            await self._insist(claim, partial(store.give_back, claim))
            return pause_of(result)

        complete = partial(store.complete, claim, result, error=error_of(result))
        await self._insist(claim, complete)
        self._jobs.announce(claim.job.id)
        return 0.0

    async def _insist(self, claim: Claim, note: Callable[[], Awaitable[Any]]) -> None:
        """Tell the store, again and again while it is away and the lease lasts."""
        with anyio.move_on_after(claim.lease_seconds):
            while True:
                try:
                    await note()
                    return
                except StoreUnavailable as exc:
                    log.warning("job not ended", job=claim.job.id, reason=str(exc))
                    await anyio.sleep(self._config.poll_seconds)

    async def _called(self, claim: Claim, request: JobRequest) -> JobResult | None:
        """Make the call while the lease is renewed; `None` if the claim is lost."""
        result: JobResult | None = None

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(self._renew, claim, tasks.cancel_scope))
            result = await self._answer_job(claim, request)
            tasks.cancel_scope.cancel()

        return result

    async def _answer(self, claim: Claim, request: JobRequest) -> JobResult | None:
        if request.kept_bytes is None:
            return await self._calls.json(request, claim.job.id)

        store, chunks = await self._jobs.store(), self._config.chunks
        assert isinstance(store, PieceStore), "it kept the body"
        run = LargeRun(store, self._calls, claim, request, chunks)
        return await run.run()

    async def _renew(self, claim: Claim, scope: anyio.CancelScope) -> None:
        while True:
            await anyio.sleep(claim.lease_seconds / _RENEWALS)

            try:
                held = await (await self._jobs.store()).renew(claim)
            except StoreUnavailable:
                # It may be back before the lease ends.
                continue

            if not held:
                scope.cancel()
                return

    async def _purge(self) -> None:
        while True:
            try:
                await (await self._jobs.store()).purge()
            except StoreUnavailable as exc:
                self._note(exc)

            await anyio.sleep(_PURGE_SECONDS)
