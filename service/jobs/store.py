"""The contract of a job store, and what it refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from service.jobs.job import (
        Claim,
        Job,
        JobRequest,
        JobResult,
        JobStatus,
        Submission,
    )


class JobError(Exception):
    """A job that can't be had, or not be accepted."""


class JobNotFound(JobError):
    """No job ever had this id, or it was deleted."""


class JobExpired(JobError):
    """The job's result was kept for its time, and is gone."""


class JobConflict(JobError):
    """Another job has this id or key: the content differs."""


class JobsFull(JobError):
    """The store takes no more: too many jobs, or too many bytes."""


class BodyTooLarge(JobError):
    """No store takes a body or result of this size, however empty it is."""


class StoreUnavailable(JobError):
    """The store can't be reached; nothing was accepted. Trying again later helps."""


class JobStore(Protocol):
    """Keeps jobs from their acceptance until their result expires.

    What `submit` returned survives any crash. A job may run more than once, and has one
    result: the first that is completed under a claim that still holds.
    """

    async def submit(self, submission: Submission) -> Job:
        """Accept a job. The same content with the same id or key is the same job.

        Raise `JobConflict`, `JobsFull`, `StoreUnavailable`.
        """
        ...

    async def get(self, id: str) -> Job:
        """Raise `JobNotFound`, `JobExpired`, `StoreUnavailable`."""
        ...

    async def request(self, id: str) -> JobRequest:
        """Return the call to make. Raise as `get` does."""
        ...

    async def result(self, id: str) -> JobResult | None:
        """Return the answer, or `None` before there is one. Raise as `get` does."""
        ...

    async def page(
        self,
        *,
        status: JobStatus | None = None,
        model: str | None = None,
        owner: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Sequence[Job]:
        """Return jobs, the newest first, from the one after `before`."""
        ...

    async def claim(
        self, worker: str, *, lease_seconds: float, skip: Sequence[str] = ()
    ) -> Claim | None:
        """Take a job to run: first those of dead servers, then the oldest queued.

        Models in `skip` are passed over. A job that was begun too often is failed.
        """
        ...

    async def renew(self, claim: Claim) -> bool:
        """Lengthen the lease; return whether the claim still holds."""
        ...

    async def advance(self, claim: Claim, done: int) -> bool:
        """Note progress; return whether the claim still holds."""
        ...

    async def complete(
        self, claim: Claim, result: JobResult, *, error: str | None = None
    ) -> bool:
        """Keep the result, and end the job; return whether the claim still held."""
        ...

    async def give_back(self, claim: Claim) -> None:
        """Queue the job again, as if it had not been begun."""
        ...

    async def cancel(self, id: str) -> Job:
        """End the job without a result, unless it has ended. Raise as `get` does."""
        ...

    async def delete(self, id: str) -> None:
        """Cancel the job if needed, and forget it. Raise as `get` does."""
        ...

    async def counts(self) -> Mapping[JobStatus, int]:
        """Return how many jobs there are, by status."""
        ...

    async def oldest_queued(self) -> float | None:
        """Return when the oldest queued job was accepted."""
        ...

    async def purge(self) -> None:
        """Fail jobs that waited too long, and drop results whose time is over."""
        ...


@runtime_checkable
class PieceStore(JobStore, Protocol):
    """A job store that also keeps bodies and results in pieces, for large work."""

    async def keep_body(self, id: str, start: int, piece: bytes) -> None:
        """Keep a piece of a large body, from byte `start` on, before its `submit`.

        Pieces follow one another. Raise `JobsFull`, `StoreUnavailable`.
        """
        ...

    async def drop_body(self, id: str) -> None:
        """Forget a kept body that isn't submitted. Without one, do nothing."""
        ...

    async def body_piece(self, id: str, start: int, nbytes: int) -> bytes:
        """Return up to `nbytes` of a kept body, nothing at its end.

        Raise as `get` does; `JobNotFound` also once nobody needs the body.
        """
        ...

    async def keep_result(self, claim: Claim, start: int, piece: bytes) -> None:
        """Keep a piece of a large result, from byte `start` on, before its `complete`.

        Pieces follow one another; at 0 a new result begins. Only the claim that
        completes has its pieces read. Raise `JobsFull`, `StoreUnavailable`.
        """
        ...

    async def result_piece(self, id: str, start: int, nbytes: int) -> bytes:
        """Return up to `nbytes` of a kept result, nothing at its end.

        Raise as `get` does; `JobNotFound` also before there is a result.
        """
        ...
