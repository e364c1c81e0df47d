"""The contract of a job store, held by each of them."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import anyio
import pytest

from service.jobs.bounds import Bounds
from service.jobs.job import JobRequest, JobResult, JobStatus, Submission
from service.jobs.redis import RedisStore
from service.jobs.sqlite import SqliteStore
from service.jobs.store import JobConflict, JobExpired, JobNotFound, JobsFull

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from service.jobs.job import Claim
    from service.jobs.store import JobStore

SMALL, LARGE = b'{"instances": [1]}', bytes(range(256)) * 1024
LEASE = 30.0
DONE = JobResult(
    status=200,
    headers={"content-type": "application/json"},
    body=b'{"predictions": [2]}',
)


@dataclass(slots=True)
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Place(Protocol):
    """Where jobs are kept; each server opens a store of its own on it."""

    clock: Clock

    def open(self, **bounds: int) -> AbstractAsyncContextManager[JobStore]: ...


class SqlitePlace:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self._folder = folder

    def open(self, **bounds: int) -> AbstractAsyncContextManager[JobStore]:
        return SqliteStore(self._folder, Bounds(**bounds), self.clock)


class RedisPlace:
    """Keys of its own in a Redis that all tests share."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self._url = url
        self._prefix = f"test-{uuid.uuid4()}"

    def open(self, **bounds: int) -> AbstractAsyncContextManager[JobStore]:
        return RedisStore(
            self._url,
            Bounds(**bounds),
            self.clock,
            prefix=self._prefix,
            # However busy the machine is.
            answer_seconds=60,
        )


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "jobs")

    return RedisPlace(request.getfixturevalue("redis").url)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[JobStore]:
    async with place.open() as opened:
        yield opened


def submission(body: bytes = SMALL, **changes: object) -> Submission:
    made = Submission(
        id=str(uuid.uuid4()),
        key=None,
        digest=str(hash(body)),
        model="flowers",
        version=None,
        signature=None,
        request=JobRequest(
            path="/v1/models/flowers:predict",
            headers={"content-type": "application/json"},
            body=body,
        ),
        total=1,
        unit="requests",
        queue_seconds=600,
        result_seconds=3600,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


async def claimed(store: JobStore, worker: str = "one") -> Claim:
    claim = await store.claim(worker, lease_seconds=LEASE)
    assert claim is not None
    return claim


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_a_job_keeps_its_request(store: JobStore, body: bytes) -> None:
    sent = submission(body)
    job = await store.submit(sent)

    assert job.status is JobStatus.QUEUED
    assert await store.get(sent.id) == job
    assert await store.request(sent.id) == sent.request
    assert await store.result(sent.id) is None


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_a_job_is_run_once_and_keeps_its_result(
    store: JobStore, place: Place, body: bytes
) -> None:
    sent = submission(body)
    await store.submit(sent)
    claim = await claimed(store)
    place.clock.now += 5
    result = replace(DONE, body=body)

    assert await store.claim("two", lease_seconds=LEASE) is None
    assert await store.complete(claim, result)

    job = await store.get(sent.id)
    assert job.status is JobStatus.SUCCEEDED
    assert (job.attempts, job.progress.done) == (1, 1)
    assert job.completed_at == place.clock.now
    assert job.expires_at == place.clock.now + 3600
    assert await store.result(sent.id) == result
    assert await store.claim("two", lease_seconds=LEASE) is None


async def test_the_same_content_is_the_same_job(store: JobStore) -> None:
    sent = submission(key="mine")
    first = await store.submit(sent)

    assert await store.submit(sent) == first
    assert await store.submit(replace(sent, id=str(uuid.uuid4()))) == first
    assert sum((await store.counts()).values()) == 1


@pytest.mark.parametrize("same", ["id", "key"])
async def test_other_content_under_a_known_name_is_refused(
    store: JobStore, same: str
) -> None:
    sent = submission(key="mine")
    await store.submit(sent)
    other = submission(LARGE, **{same: getattr(sent, same)})

    with pytest.raises(JobConflict):
        await store.submit(other)

    assert await store.request(sent.id) == sent.request


async def test_the_oldest_runs_first_and_models_can_be_skipped(store: JobStore) -> None:
    sent = [submission(model=name) for name in ("a", "b", "a")]

    for each in sent:
        await store.submit(each)

    first = await store.claim("one", lease_seconds=LEASE, skip=["a"])
    assert first is not None
    assert first.job.id == sent[1].id
    assert [(await claimed(store)).job.id for _ in range(2)] == [
        sent[0].id,
        sent[2].id,
    ]


async def test_a_dead_servers_job_is_run_again_by_another(
    store: JobStore, place: Place
) -> None:
    waiting = submission()
    dead = submission()
    await store.submit(dead)
    lost = await claimed(store, "dead")
    await store.submit(waiting)
    place.clock.now += LEASE + 1

    claim = await claimed(store, "alive")

    assert (claim.job.id, claim.attempt) == (dead.id, 2)
    # Should the first turn out to be alive, its result comes too late.
    assert not await store.renew(lost)
    assert not await store.advance(lost, 1)
    assert not await store.complete(lost, replace(DONE, body=LARGE))
    assert await store.complete(claim, DONE)
    assert await store.result(dead.id) == DONE


async def test_a_lease_that_is_renewed_holds(store: JobStore, place: Place) -> None:
    await store.submit(submission())
    claim = await claimed(store)

    for _ in range(4):
        place.clock.now += LEASE * 0.9
        assert await store.renew(claim)

    assert await store.claim("two", lease_seconds=LEASE) is None
    assert await store.complete(claim, DONE)


async def test_a_job_is_taken_over_though_the_clock_was_set_back(
    store: JobStore, place: Place
) -> None:
    await store.submit(submission())
    lost = await claimed(store, "one")
    place.clock.now -= LEASE / 2
    assert await store.claim("two", lease_seconds=LEASE) is None
    place.clock.now -= 3600
    claim = await claimed(store, "two")

    assert claim.attempt == 2
    assert not await store.advance(lost, 1)


async def test_a_job_that_kills_its_servers_is_failed(place: Place) -> None:
    async with place.open(attempts=2) as store:
        sent = submission()
        await store.submit(sent)

        for _ in range(2):
            await claimed(store)
            place.clock.now += LEASE + 1

        assert await store.claim("third", lease_seconds=LEASE) is None
        job = await store.get(sent.id)
        assert job.status is JobStatus.FAILED
        assert job.error is not None
        assert "ended 2 times" in job.error


async def test_progress_is_seen_and_starts_again_with_a_new_run(
    store: JobStore, place: Place
) -> None:
    sent = submission(total=10, unit="rows")
    before = await store.submit(sent)
    claim = await claimed(store)

    assert await store.advance(claim, 4)

    job = await store.get(sent.id)
    assert (job.progress.done, job.progress.total) == (4, 10)
    assert job.revision > before.revision
    place.clock.now += LEASE + 1
    assert (await claimed(store)).job.progress.done == 0


async def test_a_job_that_is_given_back_counts_no_attempt(store: JobStore) -> None:
    sent = submission()
    await store.submit(sent)
    await store.give_back(await claimed(store))

    job = await store.get(sent.id)
    assert (job.status, job.attempts) == (JobStatus.QUEUED, 0)
    assert (await claimed(store, "two")).job.id == sent.id


async def test_a_failed_call_is_a_failed_job_with_its_answer(store: JobStore) -> None:
    sent = submission()
    await store.submit(sent)
    answer = JobResult(status=400, headers={}, body=b'{"error": "no"}')

    assert await store.complete(await claimed(store), answer, error="no")

    job = await store.get(sent.id)
    assert (job.status, job.error) == (JobStatus.FAILED, "no")
    assert await store.result(sent.id) == answer


async def test_canceling_ends_a_job_that_waits(store: JobStore) -> None:
    sent = submission()
    await store.submit(sent)

    assert (await store.cancel(sent.id)).status is JobStatus.CANCELED
    assert (await store.cancel(sent.id)).status is JobStatus.CANCELED
    assert await store.claim("one", lease_seconds=LEASE) is None
    assert await store.result(sent.id) is None


async def test_canceling_ends_a_job_that_runs(store: JobStore) -> None:
    sent = submission()
    await store.submit(sent)
    claim = await claimed(store)

    await store.cancel(sent.id)

    assert not await store.renew(claim)
    assert not await store.complete(claim, DONE)
    assert await store.result(sent.id) is None


async def test_canceling_what_has_ended_changes_nothing(store: JobStore) -> None:
    sent = submission()
    await store.submit(sent)
    await store.complete(await claimed(store), DONE)

    assert (await store.cancel(sent.id)).status is JobStatus.SUCCEEDED
    assert await store.result(sent.id) == DONE


async def test_a_deleted_job_is_forgotten(store: JobStore) -> None:
    sent = submission(LARGE)
    await store.submit(sent)
    claim = await claimed(store)

    await store.delete(sent.id)

    assert not await store.complete(claim, DONE)
    with pytest.raises(JobNotFound):
        await store.get(sent.id)
    with pytest.raises(JobNotFound):
        await store.delete(sent.id)


async def test_a_canceled_job_can_be_deleted(store: JobStore) -> None:
    sent = submission()
    await store.submit(sent)
    await store.cancel(sent.id)

    await store.delete(sent.id)

    with pytest.raises(JobNotFound):
        await store.get(sent.id)


@pytest.mark.parametrize("purged", [True, False])
async def test_a_result_expires(store: JobStore, place: Place, purged: bool) -> None:
    sent = submission(result_seconds=60)
    await store.submit(sent)
    await store.complete(await claimed(store), replace(DONE, body=LARGE))
    place.clock.now += 61

    if purged:
        await store.purge()

    for look in (store.get, store.result, store.request, store.cancel):
        with pytest.raises(JobExpired):
            await look(sent.id)

    assert await store.page() == []


async def test_an_expired_job_is_remembered_for_a_day(
    store: JobStore, place: Place
) -> None:
    sent = submission(result_seconds=60)
    await store.submit(sent)
    await store.complete(await claimed(store), DONE)
    place.clock.now += 61
    await store.purge()
    place.clock.now += 24 * 3600 + 1
    await store.purge()

    with pytest.raises(JobNotFound):
        await store.get(sent.id)


async def test_a_job_that_waits_too_long_is_failed(
    store: JobStore, place: Place
) -> None:
    sent = submission(queue_seconds=60)
    await store.submit(sent)
    place.clock.now += 61

    assert await store.claim("one", lease_seconds=LEASE) is None
    await store.purge()

    job = await store.get(sent.id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "time in the queue" in job.error


async def test_no_more_jobs_are_accepted_than_allowed(place: Place) -> None:
    async with place.open(jobs=1) as store:
        sent = submission()
        await store.submit(sent)

        with pytest.raises(JobsFull, match="--max-jobs"):
            await store.submit(submission())

        await store.complete(await claimed(store), DONE)
        await store.submit(submission())


async def test_no_more_bytes_are_accepted_than_allowed(place: Place) -> None:
    async with place.open(nbytes=len(LARGE) + 100) as store:
        sent = submission(LARGE)
        await store.submit(sent)

        with pytest.raises(JobsFull, match="--max-jobs-bytes"):
            await store.submit(submission(bytes(200)))

        await store.delete(sent.id)
        await store.submit(submission(bytes(200)))


async def test_jobs_are_listed_from_the_newest_in_pages(store: JobStore) -> None:
    sent = [submission(model=name) for name in ("a", "b", "a", "a")]

    for each in sent:
        await store.submit(each)

    await store.complete(await claimed(store), DONE)
    newest = [each.id for each in reversed(sent)]

    first = await store.page(limit=3)
    rest = await store.page(limit=3, before=first[-1].id)
    assert [job.id for job in (*first, *rest)] == newest
    assert [job.id for job in await store.page(model="b")] == [sent[1].id]
    succeeded = await store.page(status=JobStatus.SUCCEEDED, model="a")
    assert [job.id for job in succeeded] == [sent[0].id]


async def test_counts_and_the_oldest_queued(store: JobStore, place: Place) -> None:
    assert await store.oldest_queued() is None
    await store.submit(submission())
    place.clock.now += 10
    await store.submit(submission())
    await claimed(store)

    counts = await store.counts()
    assert counts[JobStatus.QUEUED] == counts[JobStatus.RUNNING] == 1
    assert counts[JobStatus.FAILED] == 0
    assert await store.oldest_queued() == place.clock.now


async def test_unknown_jobs_are_not_found(store: JobStore) -> None:
    for look in (store.get, store.result, store.request, store.cancel, store.delete):
        with pytest.raises(JobNotFound):
            await look("nobody")


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
async def test_accepted_jobs_outlive_the_server(place: Place, body: bytes) -> None:
    sent = submission(body)

    async with place.open() as store:
        await store.submit(sent)

    async with place.open() as store:
        claim = await claimed(store)
        assert await store.request(sent.id) == sent.request
        await store.complete(claim, replace(DONE, body=body))

    async with place.open() as store:
        assert await store.result(sent.id) == replace(DONE, body=body)


async def test_servers_share_the_jobs_and_none_runs_twice(place: Place) -> None:
    taken: list[str] = []

    @asynccontextmanager
    async def server() -> AsyncIterator[JobStore]:
        async with place.open() as opened:
            yield opened

    async def work(worker: str) -> None:
        async with server() as store:
            while claim := await store.claim(worker, lease_seconds=LEASE):
                taken.append(claim.job.id)
                assert await store.complete(claim, DONE)

    async with server() as store:
        sent = [submission() for _ in range(40)]

        for each in sent:
            await store.submit(each)

        async with anyio.create_task_group() as tasks:
            for worker in ("one", "two", "three"):
                tasks.start_soon(work, worker)

        assert sorted(taken) == sorted(each.id for each in sent)
        assert (await store.counts())[JobStatus.SUCCEEDED] == 40


async def test_jobs_are_listed_by_owner(store: JobStore) -> None:
    mine = await store.submit(submission(owner="me"))
    await store.submit(submission(owner="you"))
    await store.submit(submission())

    assert [job.id for job in await store.page(owner="me")] == [mine.id]
    assert (await store.get(mine.id)).owner == "me"
    assert len(await store.page()) == 3


async def test_a_database_without_owners_is_taken_over(tmp_path: Path) -> None:
    """As an earlier release made it."""
    async with SqliteStore(tmp_path, Bounds()) as store:
        old = await store.submit(submission())

    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as database:
        database.execute("ALTER TABLE jobs DROP COLUMN owner")

    async with SqliteStore(tmp_path, Bounds()) as store:
        new = await store.submit(submission(owner="me"))
        assert (await store.get(old.id)).owner is None
        assert (await store.get(new.id)).owner == "me"
