"""Jobs in one SQLite database, shared by the processes of one machine.

Each call is one transaction in a worker thread.
"""

from __future__ import annotations

import json
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread

from service.jobs.blobs import INLINE_BYTES, Blobs
from service.jobs.bounds import POISONED, REMEMBERED_SECONDS, TOO_LATE, Bounds
from service.jobs.database import Database
from service.jobs.job import (
    Claim,
    Job,
    JobRequest,
    JobResult,
    JobStatus,
)
from service.jobs.records import body_name, is_over, job_of, result_name, run_name
from service.jobs.store import (
    JobConflict,
    JobExpired,
    JobNotFound,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from service.jobs.job import Submission

T = TypeVar("T")

ORPHAN_SECONDS = 3600.0
"""The age of a file without a job that is removed: a younger one may get its job."""

_RUNNABLE = (
    # Those of dead servers first: their clients have waited longest.
    (JobStatus.RUNNING, "(leased_until < :now OR leased_until > :never)"),
    (JobStatus.QUEUED, "queued_until >= :now"),
)


class SqliteStore:
    """A `JobStore` in a folder: `jobs.sqlite3`, and `blobs/` for what is large.

    Use it as a context manager. `clock` gives seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._database = Database(folder / "jobs.sqlite3")
        # SQLite serialises writers anyway, and a connection is one thread's at a time.
        self._limiter = anyio.CapacityLimiter(1)

    async def __aenter__(self) -> SqliteStore:
        await self._in_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._database.close)

    async def submit(self, submission: Submission) -> Job:
        return await self._in_thread(partial(self._submit, submission))

    async def keep_body(self, id: str, start: int, piece: bytes) -> None:
        await self._in_thread(partial(self._keep, body_name(id), start, piece))

    async def drop_body(self, id: str) -> None:
        await self._in_thread(partial(self._blobs.remove, body_name(id)))

    async def body_piece(self, id: str, start: int, nbytes: int) -> bytes:
        return await self._in_thread(partial(self._body_piece, id, start, nbytes))

    async def get(self, id: str) -> Job:
        return job_of(await self._in_thread(partial(self._row, id)))

    async def request(self, id: str) -> JobRequest:
        return await self._in_thread(partial(self._request, id))

    async def result(self, id: str) -> JobResult | None:
        return await self._in_thread(partial(self._result, id))

    async def result_piece(self, id: str, start: int, nbytes: int) -> bytes:
        return await self._in_thread(partial(self._result_piece, id, start, nbytes))

    async def page(
        self,
        *,
        status: JobStatus | None = None,
        model: str | None = None,
        owner: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> Sequence[Job]:
        wanted: dict[str, Any] = {
            "status": status,
            "model": model,
            "owner": owner,
            "before": before,
            "limit": limit,
        }
        return await self._in_thread(partial(self._page, wanted))

    async def claim(
        self, worker: str, *, lease_seconds: float, skip: Sequence[str] = ()
    ) -> Claim | None:
        return await self._in_thread(partial(self._claim, worker, lease_seconds, skip))

    async def renew(self, claim: Claim) -> bool:
        until = self._clock() + claim.lease_seconds
        change = partial(self._change, claim, "leased_until = :until", until=until)
        return await self._in_thread(change)

    async def advance(self, claim: Claim, done: int) -> bool:
        change = partial(
            self._change, claim, "done = :done, revision = revision + 1", done=done
        )
        return await self._in_thread(change)

    async def keep_result(self, claim: Claim, start: int, piece: bytes) -> None:
        await self._in_thread(partial(self._keep, run_name(claim), start, piece))

    async def complete(
        self, claim: Claim, result: JobResult, *, error: str | None = None
    ) -> bool:
        return await self._in_thread(partial(self._complete, claim, result, error))

    async def give_back(self, claim: Claim) -> None:
        back = (
            "status = 'queued', attempts = attempts - 1, worker = NULL, done = 0, "
            "started_at = NULL, leased_until = NULL, revision = revision + 1"
        )
        await self._in_thread(partial(self._change, claim, back))

    async def cancel(self, id: str) -> Job:
        return await self._in_thread(partial(self._cancel, id))

    async def delete(self, id: str) -> None:
        await self._in_thread(partial(self._delete, id))

    async def counts(self) -> Mapping[JobStatus, int]:
        return await self._in_thread(self._counts)

    async def oldest_queued(self) -> float | None:
        sql = "SELECT min(created_at) FROM jobs WHERE status = 'queued'"
        ((oldest,),) = await self._in_thread(partial(self._database.all, sql))
        return None if oldest is None else float(oldest)

    async def purge(self) -> None:
        await self._in_thread(self._purge)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)
        except (sqlite3.Error, OSError) as exc:
            raise StoreUnavailable(
                f"The job store in {self._folder} can't be used: {exc}. Make room, or "
                "let the server's user write there."
            ) from exc

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._blobs = Blobs(self._folder / "blobs")
        self._database.open()

    def _submit(self, submission: Submission) -> Job:
        request = submission.request
        kept = request.kept_bytes is not None
        large = kept or len(request.body) > INLINE_BYTES
        known = self._known(submission)

        if known is not None:
            return known

        # Before the row: what is accepted has its body.
        if kept:
            self._blobs.sync(body_name(submission.id))
        elif large:
            self._blobs.write(body_name(submission.id), request.body)

        with self._database.writing() as database:
            # Another process may have been faster.
            known = self._known(submission)

            if known is not None:
                return known

            self._check_room(request.nbytes)
            self._insert(database, submission, inline=not large)

        return job_of(self._row(submission.id))

    def _insert(
        self, database: sqlite3.Connection, submission: Submission, *, inline: bool
    ) -> None:
        request, now = submission.request, self._clock()
        database.execute(
            "INSERT INTO jobs (id, key, digest, model, version, signature, status,"
            " total, unit, created_at, queued_until, result_seconds, bytes, path,"
            " headers, body, kept_bytes, owner)"
            " VALUES (:id, :key, :digest, :model, :version, :signature, 'queued',"
            " :total, :unit, :now, :until, :seconds, :bytes, :path, :headers,"
            " :body, :kept, :owner)",
            {
                "id": submission.id,
                "key": submission.key,
                "digest": submission.digest,
                "model": submission.model,
                "version": submission.version,
                "signature": submission.signature,
                "owner": submission.owner,
                "total": submission.total,
                "unit": submission.unit,
                "now": now,
                "until": now + submission.queue_seconds,
                "seconds": submission.result_seconds,
                "bytes": request.nbytes,
                "kept": request.kept_bytes,
                "path": request.path,
                "headers": json.dumps(dict(request.headers)),
                "body": request.body if inline else None,
            },
        )

    def _keep(self, name: str, start: int, piece: bytes) -> None:
        nbytes = start + len(piece)
        self._bounds.check_bytes(stored=self._stored(), nbytes=nbytes)
        self._blobs.extend(name, start, piece)

    def _body_piece(self, id: str, start: int, nbytes: int) -> bytes:
        return self._piece(self._row(id), "kept_bytes", body_name(id), start, nbytes)

    def _result_piece(self, id: str, start: int, nbytes: int) -> bytes:
        row = self._row(id)
        name = result_name(row)
        return self._piece(row, "result_kept_bytes", name, start, nbytes)

    def _piece(
        self, row: sqlite3.Row, column: str, name: str, start: int, nbytes: int
    ) -> bytes:
        try:
            if row[column] is None:
                raise FileNotFoundError

            # Not to the file's end: an earlier run may have got further.
            left = max(0, row[column] - start)
            return self._blobs.read_piece(name, start, min(nbytes, left))
        except FileNotFoundError:
            raise JobNotFound(
                f"The job '{row['id']}' has no such body or result in pieces."
            ) from None

    def _known(self, submission: Submission) -> Job | None:
        """Return the job that has this id or key. Raise `JobConflict` for another."""
        found = self._database.all(
            "SELECT * FROM jobs WHERE id = :id OR (key IS NOT NULL AND key = :key)",
            id=submission.id,
            key=submission.key,
        )

        if not found:
            return None

        if any(row["digest"] != submission.digest for row in found):
            raise JobConflict(
                "This id or Idempotency-Key was already used with different content. "
                "Send what was sent before, or choose a new id or key."
            )

        return job_of(found[0])

    def _check_room(self, nbytes: int) -> None:
        ((jobs,),) = self._database.all(
            "SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')"
        )

        self._bounds.check(jobs=jobs, stored=self._stored(), nbytes=nbytes)

    def _stored(self) -> int:
        ((stored,),) = self._database.all("SELECT coalesce(sum(bytes), 0) FROM jobs")
        return int(stored)

    def _row(self, id: str) -> sqlite3.Row:
        found = self._database.all("SELECT * FROM jobs WHERE id = :id", id=id)

        if found and not is_over(found[0], self._clock()):
            return found[0]

        if found or self._database.all("SELECT 1 FROM expired WHERE id = :id", id=id):
            raise JobExpired(f"The job '{id}' has expired; its result is gone.")

        raise JobNotFound(f"There is no job '{id}'.")

    def _request(self, id: str) -> JobRequest:
        row = self._row(id)
        kept, body = row["kept_bytes"], row["body"]

        if kept is not None:
            body = b""

        return JobRequest(
            path=row["path"],
            headers=json.loads(row["headers"]),
            body=self._blobs.read(body_name(id)) if body is None else body,
            kept_bytes=kept,
        )

    def _result(self, id: str) -> JobResult | None:
        row = self._row(id)

        if row["result_status"] is None:
            return None

        kept, body = row["result_kept_bytes"], row["result"]

        if kept is not None:
            body = b""

        return JobResult(
            status=row["result_status"],
            headers=json.loads(row["result_headers"]),
            body=self._blobs.read(result_name(row)) if body is None else body,
            kept_bytes=kept,
        )

    def _page(self, wanted: Mapping[str, Any]) -> list[Job]:
        found = self._database.all(
            "SELECT * FROM jobs WHERE (:status IS NULL OR status = :status)"
            " AND (:model IS NULL OR model = :model)"
            " AND (:owner IS NULL OR owner = :owner)"
            " AND (expires_at IS NULL OR expires_at > :now)"
            " AND (:before IS NULL"
            "      OR number < (SELECT number FROM jobs WHERE id = :before))"
            " ORDER BY number DESC LIMIT :limit",
            now=self._clock(),
            **wanted,
        )
        return [job_of(row) for row in found]

    def _claim(
        self, worker: str, lease_seconds: float, skip: Sequence[str]
    ) -> Claim | None:
        with self._database.writing() as database:
            now = self._clock()
            row = self._next(now, lease_seconds, skip)

            while row is not None and row["attempts"] >= self._bounds.attempts:
                poisoned = POISONED % row["attempts"]
                self._end(database, row["id"], JobStatus.FAILED, poisoned)
                row = self._next(now, lease_seconds, skip)

            if row is None:
                return None

            database.execute(
                "UPDATE jobs SET status = 'running', attempts = attempts + 1, done = 0,"
                " worker = :worker, leased_until = :until, revision = revision + 1,"
                " started_at = :now WHERE id = :id",
                {
                    "worker": worker,
                    "until": now + lease_seconds,
                    "now": now,
                    "id": row["id"],
                },
            )

        job = job_of(self._row(row["id"]))
        return Claim(job=job, attempt=job.attempts, lease_seconds=lease_seconds)

    def _next(
        self, now: float, lease_seconds: float, skip: Sequence[str]
    ) -> sqlite3.Row | None:
        # No lease is so long: the clock was set back since.
        never = now + 2 * lease_seconds
        for status, condition in _RUNNABLE:
            found = self._database.all(
                f"SELECT * FROM jobs WHERE status = :status AND {condition}"
                " AND model NOT IN (SELECT value FROM json_each(:skip))"
                " ORDER BY number LIMIT 1",
                status=status,
                now=now,
                never=never,
                skip=json.dumps(list(skip)),
            )

            if found:
                return found[0]

        return None

    def _change(self, claim: Claim, change: str, **values: Any) -> bool:
        with self._database.writing() as database:
            return self._update(database, claim, change, **values)

    def _update(
        self, database: sqlite3.Connection, claim: Claim, change: str, **values: Any
    ) -> bool:
        """Change the job, if the claim still holds."""
        done = database.execute(
            f"UPDATE jobs SET {change} WHERE id = :id AND attempts = :attempt"
            " AND status = 'running'",
            {"id": claim.job.id, "attempt": claim.attempt, **values},
        )
        return done.rowcount == 1

    def _complete(self, claim: Claim, result: JobResult, error: str | None) -> bool:
        kept = result.kept_bytes is not None
        large = kept or len(result.body) > INLINE_BYTES
        name = run_name(claim)

        if kept:
            self._blobs.sync(name)
        elif large:
            self._blobs.write(name, result.body)

        with self._database.writing() as database:
            now = self._clock()
            held = self._update(
                database,
                claim,
                "status = :status, error = :error, done = total, completed_at = :now,"
                " expires_at = :now + result_seconds, worker = NULL,"
                " leased_until = NULL, revision = revision + 1, body = NULL,"
                " bytes = :bytes, result_status = :code, result_headers = :headers,"
                " result = :body, result_kept_bytes = :kept",
                status=JobStatus.SUCCEEDED if error is None else JobStatus.FAILED,
                error=error,
                now=now,
                bytes=result.nbytes,
                kept=result.kept_bytes,
                code=result.status,
                headers=json.dumps(dict(result.headers)),
                body=None if large else result.body,
            )

        # Either nobody needs the body any more, or another run has the result.
        self._blobs.remove(body_name(claim.job.id) if held else name)

        if held and not large:
            # What a run kept before it failed.
            self._blobs.remove(name)

        return held

    def _end(
        self,
        database: sqlite3.Connection,
        id: str,
        status: JobStatus,
        error: str | None = None,
    ) -> None:
        now = self._clock()
        database.execute(
            "UPDATE jobs SET status = :status, error = :error, completed_at = :now,"
            " expires_at = :now + result_seconds, worker = NULL, leased_until = NULL,"
            " body = NULL, bytes = 0, revision = revision + 1 WHERE id = :id",
            {"status": status, "error": error, "now": now, "id": id},
        )

    def _cancel(self, id: str) -> Job:
        with self._database.writing() as database:
            row = self._row(id)
            ended = job_of(row).status.ended

            if not ended:
                self._end(database, id, JobStatus.CANCELED)

        if not ended:
            self._blobs.remove(body_name(id))
            self._blobs.remove(result_name(row))

        return job_of(self._row(id))

    def _delete(self, id: str) -> None:
        with self._database.writing() as database:
            row = self._row(id)
            database.execute("DELETE FROM jobs WHERE id = :id", {"id": id})

        self._blobs.remove(body_name(id))
        self._blobs.remove(result_name(row))

    def _counts(self) -> dict[JobStatus, int]:
        counts = dict.fromkeys(JobStatus, 0)
        sql = "SELECT status, count(*) FROM jobs GROUP BY status"
        return counts | {
            JobStatus(status): count for status, count in self._database.all(sql)
        }

    def _purge(self) -> None:
        with self._database.writing() as database:
            now = self._clock()
            late = self._database.all(
                "SELECT id FROM jobs WHERE status = 'queued' AND queued_until < :now",
                now=now,
            )

            for row in late:
                self._end(database, row["id"], JobStatus.FAILED, TOO_LATE)

            over = self._database.all(
                "SELECT id FROM jobs WHERE expires_at <= :now", now=now
            )
            database.executemany(
                "INSERT OR REPLACE INTO expired VALUES (?, ?)",
                [(row["id"], now + REMEMBERED_SECONDS) for row in over],
            )
            database.execute("DELETE FROM jobs WHERE expires_at <= ?", (now,))
            database.execute("DELETE FROM expired WHERE forget_at <= ?", (now,))
            kept = {row["id"] for row in self._database.all("SELECT id FROM jobs")}

        self._blobs.remove_others(kept, older_seconds=ORPHAN_SECONDS)
