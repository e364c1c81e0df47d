"""Asynchronous predictions: a request that is answered later, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


TRACE_CONTEXT = frozenset({"traceparent", "tracestate"})
"""Headers that tell which trace a job belongs to, by W3C's Trace Context."""


class JobStatus(StrEnum):
    """`queued → running → succeeded | failed | canceled`.

    A job whose server died goes back to `queued`, with one more attempt.
    """

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def ended(self) -> bool:
        """Return whether the status is final."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Headers, by lower-case name, and a body.

    A body that was kept in pieces before has `kept_bytes`, and an empty `body`.
    """

    headers: Mapping[str, str]
    body: bytes
    kept_bytes: int | None = None

    @property
    def nbytes(self) -> int:
        return len(self.body) if self.kept_bytes is None else self.kept_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest(Content):
    """The synchronous call that a job makes: a POST of `body` to `path`.

    `headers` are those that decide its answer, and its trace.
    """

    path: str

    @property
    def trace(self) -> Mapping[str, str]:
        """The headers of its trace."""
        return {k: v for k, v in self.headers.items() if k in TRACE_CONTEXT}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult(Content):
    """The answer of the synchronous call, to the byte."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job to accept.

    `digest` is that of the request's content: the same `id` or `key` with another
    digest is another job, and refused. `queue_seconds` bounds the wait for a server,
    `result_seconds` how long the result is kept.
    """

    id: str
    key: str | None
    digest: str
    model: str
    version: int | None
    signature: str | None
    request: JobRequest
    total: int
    unit: str
    queue_seconds: float
    result_seconds: float
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a job, in `unit`s (requests or rows)."""

    done: int
    total: int
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as its store has it. Times are seconds since 1970, UTC.

    `revision` grows with each change. `error` says why it failed, `owner` whose
    job it is: the name of an API key.
    """

    id: str
    model: str
    version: int | None
    signature: str | None
    status: JobStatus
    progress: Progress
    created_at: float
    started_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None
    attempts: int = 0
    error: str | None = None
    revision: int = 1
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that one server runs, until its lease ends.

    `attempt` tells this run from an earlier one of the same job.
    """

    job: Job
    attempt: int
    lease_seconds: float = field(compare=False)
