"""The jobs of one process: its store, and the tasks waiting on it."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from service.jobs.job import Job, Submission
    from service.jobs.store import JobStore

POLL_SECONDS = 0.25
"""Polling interval for jobs that other processes may run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsConfig:
    """Limits of jobs: time in the queue and of results, bytes of a body.

    `scratch` is the folder where a body lies that must be there before it can be read.
    """

    queue_seconds: float = 3600.0
    result_seconds: float = 3600.0
    body_bytes: int = 4 * 1024**3
    scratch: Path | None = None


class Jobs:
    """Opens the store when it is first needed, and again where that failed.

    So a server without a disk for jobs answers synchronous calls all the same.
    """

    def __init__(
        self,
        open_store: Callable[[], AbstractAsyncContextManager[JobStore]],
        config: JobsConfig | None = None,
    ) -> None:
        self.config = config or JobsConfig()
        self._open_store = open_store
        self._store: JobStore | None = None
        self._stack = AsyncExitStack()
        self._opening = anyio.Lock()
        self._work = anyio.Event()
        self._waiting: dict[str, set[anyio.Event]] = defaultdict(set)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
        self._store = None

    async def store(self) -> JobStore:
        """Raise `StoreUnavailable` if it can't be opened."""
        if self._store is None:
            async with self._opening:
                if self._store is None:
                    opened = self._open_store()
                    self._store = await self._stack.enter_async_context(opened)

        return self._store

    async def submit(self, submission: Submission) -> Job:
        """Accept a job and wake a worker. Raise what `JobStore.submit` raises."""
        job = await (await self.store()).submit(submission)
        work, self._work = self._work, anyio.Event()
        work.set()
        return job

    async def wait_for_work(self, seconds: float) -> None:
        """Return once a job was accepted here, or after `seconds`."""
        with anyio.move_on_after(seconds):
            await self._work.wait()

    async def wait(self, job: Job, seconds: float) -> Job:
        """Return the job once it has changed, or as it is after `seconds`."""
        ends = anyio.current_time() + seconds
        store = await self.store()

        while True:
            with self._watched(job.id) as changed:
                now = await store.get(job.id)
                left = ends - anyio.current_time()

                if now.revision != job.revision or now.status.ended or left <= 0:
                    return now

                with anyio.move_on_after(min(POLL_SECONDS, left)):
                    await changed.wait()

    async def wait_until_ended(self, job: Job, seconds: float) -> Job:
        """Return the job once it has ended, or as it is after `seconds`."""
        ends = anyio.current_time() + seconds

        while not job.status.ended and anyio.current_time() < ends:
            job = await self.wait(job, ends - anyio.current_time())

        return job

    def announce(self, id: str) -> None:
        """Wake those who wait for a job that ended here."""
        for event in self._waiting.get(id, ()):
            event.set()

    @contextmanager
    def _watched(self, id: str) -> Iterator[anyio.Event]:
        event = anyio.Event()
        self._waiting[id].add(event)

        try:
            yield event
        finally:
            self._waiting[id].discard(event)

            if not self._waiting[id]:
                del self._waiting[id]
