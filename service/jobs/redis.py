"""Jobs in Redis, shared by all servers that reach it.

Each verb is one call of the script `verbs.lua`, and so one transaction. Queued work is
a stream with a consumer group. When a lease ends is kept beside it, by Redis' clock:
`XAUTOCLAIM` goes by how long the server that looks would wait, not by what the one that
runs the job was given.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import structlog

from service.jobs.bounds import POISONED, REMEMBERED_SECONDS, TOO_LATE, Bounds
from service.jobs.durability import LOOKED_AT, risks_of
from service.jobs.hashes import fields_of, flat, job_of, kept_bytes, table_of
from service.jobs.job import Claim, JobRequest, JobResult, JobStatus
from service.jobs.script import Script
from service.jobs.store import (
    BodyTooLarge,
    JobConflict,
    JobExpired,
    JobNotFound,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from service.jobs.job import Job, Submission
    from service.jobs.script import Value

log = structlog.get_logger("tandem.jobs")

ANSWER_SECONDS = 0.15
"""Timeout for Redis to answer when a client submits a job."""

GONE_SECONDS = 3600.0
"""Seconds of silence after which a server leaves the group."""

PREFIX = "tandem"

MOST_BYTES = 512 * 1024**2
"""The longest text that Redis holds, and so the longest body or answer of one call."""


class RedisStore:
    """A `PieceStore` in a Redis database of version 7 or newer.

    Use it as a context manager; it connects when it is asked something, and again after
    Redis was away. `clock` gives seconds since 1970, by default it is that of Redis.
    """

    def __init__(
        self,
        url: str,
        bounds: Bounds | None = None,
        clock: Callable[[], float] | None = None,
        *,
        prefix: str = PREFIX,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._script = Script(url, prefix)
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._answer_seconds = answer_seconds
        self._warned = False

    async def __aenter__(self) -> RedisStore:
        await self._script.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._script.__aexit__(*exc_info)

    async def submit(self, submission: Submission) -> Job:
        bounds, body = self._bounds, submission.request.body

        if len(body) > MOST_BYTES:
            raise BodyTooLarge(
                f"The body has {len(body)} bytes, and Redis holds at most {MOST_BYTES} "
                "of one call. Send it as lines, 'Content-Type: application/x-ndjson', "
                "which may have any length, or fewer rows at a time."
            )

        args: list[Value] = [body, bounds.jobs, bounds.nbytes, *fields_of(submission)]
        kind, *rest = await self._script.call(
            "submit", self._now(), *args, answer_seconds=self._answer_seconds
        )

        if kind == b"conflict":
            raise JobConflict(
                "This id or Idempotency-Key was already used with different content. "
                "Send what was sent before, or choose a new id or key."
            )

        if kind == b"full":
            jobs, stored = rest
            nbytes = submission.request.nbytes
            bounds.check(jobs=jobs, stored=stored, nbytes=nbytes)

        if kind == b"lost":
            raise StoreUnavailable("The job's body is no longer kept. Send it again.")

        return job_of(table_of(rest[0]))

    async def keep_body(self, id: str, start: int, piece: bytes) -> None:
        await self._keep("body", id, start, piece)

    async def drop_body(self, id: str) -> None:
        await self._call("drop", id)

    async def body_piece(self, id: str, start: int, nbytes: int) -> bytes:
        return await self._piece("body", id, start, nbytes)

    async def keep_result(self, claim: Claim, start: int, piece: bytes) -> None:
        await self._keep("run", f"{claim.job.id}:{claim.attempt}", start, piece)

    async def result_piece(self, id: str, start: int, nbytes: int) -> bytes:
        return await self._piece("result", id, start, nbytes)

    async def get(self, id: str) -> Job:
        table, *_ = await self._found("get", id)
        return job_of(table)

    async def request(self, id: str) -> JobRequest:
        table, body = await self._found("read", id, "body")

        if body is None:
            raise JobExpired(f"The job '{id}' has ended; its body is gone.")

        return JobRequest(
            path=table["path"],
            headers=json.loads(table["headers"]),
            body=body,
            kept_bytes=kept_bytes(table, "kept_bytes"),
        )

    async def result(self, id: str) -> JobResult | None:
        table, body = await self._found("read", id, "result")

        if body is None or "result_status" not in table:
            return None

        return JobResult(
            status=int(table["result_status"]),
            headers=json.loads(table["result_headers"]),
            body=body,
            kept_bytes=kept_bytes(table, "result_kept_bytes"),
        )

    async def page(
        self,
        *,
        status: JobStatus | None = None,
        model: str | None = None,
        owner: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Sequence[Job]:
        index = "jobs" if status is None else f"status:{status}"
        after = () if before is None else (before,)
        found = await self._call("page", index, model or "", owner or "", limit, *after)
        return [job_of(table_of(each)) for each in found]

    async def claim(
        self, worker: str, *, lease_seconds: float, skip: Sequence[str] = ()
    ) -> Claim | None:
        kind, *rest = await self._call(
            "claim", worker, lease_seconds, self._bounds.attempts, POISONED, *skip
        )

        if kind == b"none":
            return None

        job = job_of(table_of(rest[0]))
        return Claim(job=job, attempt=job.attempts, lease_seconds=lease_seconds)

    async def renew(self, claim: Claim) -> bool:
        return await self._change("renew", claim, claim.lease_seconds)

    async def advance(self, claim: Claim, done: int) -> bool:
        return await self._change("advance", claim, done)

    async def complete(
        self, claim: Claim, result: JobResult, *, error: str | None = None
    ) -> bool:
        if len(result.body) > MOST_BYTES:
            # Kept trying, the job would run again and again.
            error = _too_long(len(result.body))
            result = _failure(error)

        status = JobStatus.SUCCEEDED if error is None else JobStatus.FAILED
        fields: dict[str, str | float | None] = {
            "result_status": result.status,
            "result_headers": json.dumps(dict(result.headers)),
            "result_kept_bytes": result.kept_bytes,
            "error": error,
        }
        return await self._change("complete", claim, status, result.body, *flat(fields))

    async def give_back(self, claim: Claim) -> None:
        await self._change("give_back", claim)

    async def cancel(self, id: str) -> Job:
        table, *_ = await self._found("cancel", id)
        return job_of(table)

    async def delete(self, id: str) -> None:
        await self._found("delete", id)

    async def counts(self) -> Mapping[JobStatus, int]:
        counts = await self._call("count", *JobStatus)
        return dict(zip(JobStatus, counts, strict=True))

    async def oldest_queued(self) -> float | None:
        oldest = await self._call("oldest")
        return None if oldest is None else float(oldest)

    async def purge(self) -> None:
        # In chunks, because Redis blocks other clients meanwhile.
        while await self._call("purge", TOO_LATE, REMEMBERED_SECONDS):
            pass

        await self._call("sweep", GONE_SECONDS)
        await self._warn_of_risks()

    async def _warn_of_risks(self) -> None:
        """Log what this Redis may lose, once; some hosts don't let us see it."""
        if self._warned:
            return

        for risk in risks_of(await self._script.settings(*LOOKED_AT)):
            log.warning("Redis may lose jobs", risk=risk)

        self._warned = True

    async def _change(self, verb: str, claim: Claim, *args: Value) -> bool:
        held = await self._call(verb, claim.job.id, claim.attempt, *args)
        return bool(held)

    async def _keep(self, kind: str, name: str, start: int, piece: bytes) -> None:
        nbytes, bounds = start + len(piece), self._bounds
        said, *rest = await self._call("keep", kind, name, start, piece, bounds.nbytes)

        if said == b"full":
            bounds.check_bytes(stored=rest[0], nbytes=nbytes)

    async def _piece(self, kind: str, id: str, start: int, nbytes: int) -> bytes:
        said, *rest = await self._asked("piece", id, kind, start, nbytes)

        if said == b"nothing":
            raise JobNotFound(f"The job '{id}' has no such body or result in pieces.")

        piece: bytes = rest[0]
        return piece

    async def _found(self, verb: str, id: str, *args: Value) -> tuple[Any, ...]:
        """Return the job's table, and what else the verb gives. Raise as `get` does."""
        _, *rest = await self._asked(verb, id, *args)
        return (table_of(rest[0]), *rest[1:]) if rest else ()

    async def _asked(self, verb: str, id: str, *args: Value) -> Any:
        """Return what a verb says of a job. Raise as `get` does."""
        said = await self._call(verb, id, *args)

        if said[0] == b"unknown":
            raise JobNotFound(f"There is no job '{id}'.")

        if said[0] == b"expired":
            raise JobExpired(f"The job '{id}' has expired; its result is gone.")

        return said

    async def _call(self, verb: str, *args: Value) -> Any:
        return await self._script.call(verb, self._now(), *args)

    def _now(self) -> float | None:
        return None if self._clock is None else self._clock()


def _too_long(nbytes: int) -> str:
    return (
        f"The answer has {nbytes} bytes, and Redis holds at most {MOST_BYTES} of one"
        " call. Send the rows as lines, 'Content-Type: application/x-ndjson', which may"
        " have answers of any length, or fewer rows at a time."
    )


def _failure(text: str) -> JobResult:
    body = json.dumps({"error": text}).encode()
    return JobResult(
        status=507, headers={"content-type": "application/json"}, body=body
    )
