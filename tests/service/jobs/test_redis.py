"""Jobs in Redis, where the contract of all stores doesn't say it."""

from __future__ import annotations

import socket
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from service.jobs import redis as module
from service.jobs.job import JobStatus
from service.jobs.redis import RedisStore
from service.jobs.store import BodyTooLarge, StoreUnavailable
from tests.service.jobs.test_store import DONE, LEASE, claimed, submission
from tests.support.redis_servers import running_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.support.redis_servers import RedisServer

HANG_SECONDS = 10.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may stop."""
    with running_redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4()}"


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as client:
        yield client


async def test_redis_may_go_and_come_back(own: RedisServer) -> None:
    sent, late = submission(), submission()

    async with RedisStore(own.url, answer_seconds=60) as store:
        await store.submit(sent)
        running = await claimed(store)
        own.kill()

        for verb in (store.submit(late), store.get(sent.id), store.renew(running)):
            with pytest.raises(StoreUnavailable, match=r"redis://127\.0\.0\.1"):
                await verb

        own.start()
        assert await store.renew(running)
        assert await store.complete(running, DONE)
        assert await store.result(sent.id) == DONE
        await store.submit(late)
        assert (await claimed(store)).job.id == late.id


async def test_large_work_leaves_nothing_behind(
    redis: RedisServer, client: Redis, prefix: str
) -> None:
    body = bytes(20 << 20)
    made = submission(b"")
    large = replace(made, request=replace(made.request, kept_bytes=len(body)))

    async with RedisStore(redis.url, prefix=prefix) as store:
        await store.keep_body(large.id, 0, body)
        # An earlier try got further, which doesn't count.
        await store.keep_body(large.id, 0, body[: 1 << 20])

        with pytest.raises(StoreUnavailable, match="no longer kept"):
            await store.submit(large)

        await store.keep_body(large.id, 0, body)
        await store.submit(large)
        running = await claimed(store)
        await store.keep_result(running, 0, body)
        kept = [name async for name in client.scan_iter(f"{prefix}:*:{large.id}:*")]
        lives = [await client.pttl(name) for name in kept]
        done = replace(DONE, body=b"", kept_bytes=len(body))
        await store.complete(running, done)
        after = [name async for name in client.scan_iter(f"{prefix}:*:{large.id}:*")]
        await store.delete(large.id)
        left = [name async for name in client.scan_iter(f"{prefix}:*:{large.id}*")]

    # Three blocks each of the body and of the run's result, then of the result alone.
    assert (len(kept), len(after), left) == (6, 3, [])
    assert all(ms > 0 for ms in lives)


async def test_a_body_longer_than_a_text_of_redis_is_refused(
    redis: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)

    async with RedisStore(redis.url, prefix=prefix) as store:
        await store.submit(submission(b"0123456789"))

        with pytest.raises(BodyTooLarge, match="x-ndjson"):
            await store.submit(submission(b"0123456789a"))


async def test_an_answer_longer_than_a_text_of_redis_fails_its_job(
    redis: RedisServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10)
    sent = submission(b"1")

    async with RedisStore(redis.url, prefix=prefix) as store:
        await store.submit(sent)
        await store.complete(await claimed(store), replace(DONE, body=b"0" * 11))
        job, result = await store.get(sent.id), await store.result(sent.id)

    assert job.status is JobStatus.FAILED
    assert "x-ndjson" in (job.error or "")
    assert result is not None and result.status == 507


async def test_a_store_opens_while_redis_is_away(own: RedisServer) -> None:
    own.kill()

    async with RedisStore(own.url, answer_seconds=60) as store:
        with pytest.raises(StoreUnavailable):
            await store.counts()

        own.start()
        assert sum((await store.counts()).values()) == 0


async def test_a_redis_that_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        async with RedisStore(f"redis://127.0.0.1:{port}/0") as store:
            with anyio.fail_after(HANG_SECONDS):
                with pytest.raises(StoreUnavailable, match="does not answer"):
                    await store.submit(submission())


async def test_a_full_redis_takes_no_job_and_lets_the_others_end(
    own: RedisServer,
) -> None:
    sent, running = submission(), submission()

    async with (
        RedisStore(own.url, answer_seconds=60) as store,
        Redis.from_url(own.url) as client,
    ):
        await store.submit(running)
        await store.submit(sent)
        claim = await claimed(store)
        await client.config_set("maxmemory", 1)

        with pytest.raises(StoreUnavailable, match="maxmemory"):
            await store.submit(submission())

        assert await store.complete(claim, DONE)
        assert await store.complete(await claimed(store), DONE)
        counts = await store.counts()
        assert counts[JobStatus.SUCCEEDED] == sum(counts.values()) == 2


async def test_errors_keep_the_password() -> None:
    async with RedisStore("redis://me:secret@127.0.0.1:1/0") as store:
        with pytest.raises(StoreUnavailable) as caught:
            await store.counts()

    assert "redis://127.0.0.1:1/0" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_times_are_those_of_redis(
    redis: RedisServer, client: Redis, prefix: str
) -> None:
    async with RedisStore(redis.url, prefix=prefix, answer_seconds=60) as store:
        before = await moment(client)
        job = await store.submit(submission())
        after = await moment(client)

    assert before <= job.created_at <= after


async def moment(client: Redis) -> float:
    seconds, micros = await client.time()
    return float(seconds + micros / 1e6)


async def test_bodies_and_results_go_though_no_server_is_left(
    redis: RedisServer, client: Redis, prefix: str
) -> None:
    sent = submission(queue_seconds=60, result_seconds=60)
    body, result = (f"{prefix}:{kind}:{sent.id}" for kind in ("body", "result"))

    async with RedisStore(redis.url, prefix=prefix, answer_seconds=60) as store:
        await store.submit(sent)
        assert await client.ttl(body) > 60
        await store.complete(await claimed(store), DONE)

    assert not await client.exists(body)
    assert await client.ttl(result) > 60


async def test_nothing_is_left_of_deleted_jobs(
    redis: RedisServer, client: Redis, prefix: str
) -> None:
    sent = [submission(key=name) for name in ("queued", "running", "ended")]

    async with RedisStore(redis.url, prefix=prefix, answer_seconds=60) as store:
        for each in reversed(sent):
            await store.submit(each)

        await store.complete(await claimed(store), DONE)
        await claimed(store)

        for each in sent:
            await store.delete(each.id)

    found = [key.decode() async for key in client.scan_iter(f"{prefix}:*")]
    names = {name.removeprefix(f"{prefix}:") for name in found}
    assert names == {"queue", "number", "bytes"}
    assert await client.get(f"{prefix}:bytes") == b"0"
    assert await client.xlen(f"{prefix}:queue") == 0
    assert (await client.xpending(f"{prefix}:queue", "servers"))["pending"] == 0


async def test_servers_that_have_gone_are_forgotten(
    redis: RedisServer, client: Redis, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GONE_SECONDS", 0)

    async with RedisStore(redis.url, prefix=prefix, answer_seconds=60) as store:
        await store.submit(submission())
        await store.submit(submission())
        await store.complete(await claimed(store, "gone"), DONE)
        await claimed(store, "running")
        await store.purge()

    known = await client.xinfo_consumers(f"{prefix}:queue", "servers")
    assert [each["name"] for each in known] == [b"running"]


async def test_jobs_that_were_passed_over_keep_their_turn(
    redis: RedisServer, prefix: str
) -> None:
    sent = [submission(model=name) for name in ("busy", "busy", "idle", "busy")]

    async with RedisStore(redis.url, prefix=prefix, answer_seconds=60) as store:
        for each in sent:
            await store.submit(each)

        claim = await store.claim("one", lease_seconds=LEASE, skip=["busy"])
        assert claim is not None
        await store.give_back(claim)

        order = [(await claimed(store)).job.id for _ in sent]

    assert order == [each.id for each in sent]


@pytest.mark.parametrize(("fsync", "risks"), [("always", 0), ("everysec", 1)])
async def test_a_redis_that_may_lose_jobs_is_warned_of_once(
    own: RedisServer, fsync: str, risks: int
) -> None:
    async with RedisStore(own.url) as store, Redis.from_url(own.url) as client:
        await client.config_set("appendfsync", fsync)

        with capture_logs() as lines:
            await store.purge()
            await store.purge()

    assert [line["event"] for line in lines] == ["Redis may lose jobs"] * risks


async def test_a_redis_that_hides_its_settings_is_used_all_the_same(
    own: RedisServer,
) -> None:
    async with Redis.from_url(own.url) as client:
        await client.acl_setuser(
            "tandem",
            enabled=True,
            passwords=["+secret"],
            keys=["tandem:*"],
            categories=["+@all"],
            commands=["-config"],
        )

    url = own.url.replace("//", "//tandem:secret@")

    async with RedisStore(url, answer_seconds=60) as store:
        await store.submit(submission())

        with capture_logs() as lines:
            await store.purge()

        assert lines == []
        assert await store.complete(await claimed(store), DONE)
