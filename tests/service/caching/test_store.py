"""Stores of answers: one contract, in memory and in a real Redis."""

from __future__ import annotations

import socket
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest
from redis import Redis
from structlog.testing import capture_logs

from service.caching import redis as redis_module
from service.caching.memory import ENTRY_BYTES, MemoryStore
from service.caching.redis import MOST_BYTES, RedisStore
from service.caching.store import joined
from tests.support.redis_servers import RedisServer, running_redis

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from service.caching.store import AnswerStore

    Open = Callable[[int], AbstractAsyncContextManager[AnswerStore]]

BODY = b"x" * 100
ENTRY = len(BODY) + ENTRY_BYTES


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
def open_store(request: pytest.FixtureRequest) -> Open:
    if request.param == "memory":
        return MemoryStore

    server: RedisServer = request.getfixturevalue("redis")

    @asynccontextmanager
    async def opened(nbytes: int) -> AsyncIterator[AnswerStore]:
        prefix = f"{uuid.uuid4()}:"

        async with RedisStore(server.url, nbytes, prefix=prefix) as store:
            yield store

    return opened


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for Redis as long as it takes: this machine may be busy."""
    monkeypatch.setattr(redis_module, "ANSWER_SECONDS", 20.0)


async def test_an_answer_is_found_again(open_store: Open) -> None:
    async with open_store(1 << 20) as store:
        assert await store.get("one", 60) is None
        assert await store.put("one", [b"in ", b"pieces"], 60)
        found = await store.get("one", 60)
        figures = await store.figures()

    assert found is not None
    assert joined(found.body) == b"in pieces"
    assert 0 <= found.age < 60
    assert figures is not None
    assert (figures.entries, figures.nbytes) == (1, 9 + ENTRY_BYTES)


async def test_an_answer_takes_the_place_of_the_one_before(open_store: Open) -> None:
    async with open_store(1 << 20) as store:
        await store.put("one", BODY, 60)
        await store.put("one", BODY + BODY, 60)
        found, figures = await store.get("one", 60), await store.figures()

    assert found is not None and joined(found.body) == BODY + BODY
    assert figures is not None
    assert (figures.entries, figures.nbytes) == (1, ENTRY + len(BODY))


async def test_least_recently_used_entries_make_room(open_store: Open) -> None:
    async with open_store(3 * ENTRY) as store:
        for name in ("one", "two", "three"):
            assert await store.put(name, BODY, 60)

        await store.get("one", 60)
        await store.put("four", BODY, 60)
        kept = [
            name
            for name in ("one", "two", "three", "four")
            if await store.get(name, 60) is not None
        ]
        figures = await store.figures()

    assert kept == ["one", "three", "four"]
    assert figures is not None and figures.nbytes == 3 * ENTRY


async def test_a_large_answer_pushes_out_several(open_store: Open) -> None:
    async with open_store(3 * ENTRY) as store:
        for name in ("one", "two", "three"):
            await store.put(name, BODY, 60)

        assert await store.put("large", b"x" * (len(BODY) + ENTRY), 60)
        figures = await store.figures()

    assert figures is not None
    assert (figures.entries, figures.nbytes) == (2, 3 * ENTRY)


async def test_an_answer_over_the_bound_is_not_kept(open_store: Open) -> None:
    async with open_store(ENTRY) as store:
        await store.put("one", BODY, 60)

        assert not await store.put("large", BODY + b"x", 60)
        assert await store.get("one", 60) is not None


async def test_answers_expire_in_memory() -> None:
    now = 0.0
    store = MemoryStore(1 << 20, lambda: now)
    await store.put("one", BODY, 60)
    now = 59.0
    assert await store.get("one", 60) is not None
    now = 60.0

    assert await store.get("one", 60) is None
    assert (await store.figures()).entries == 0


async def test_redis_drops_answers_by_itself(redis: RedisServer) -> None:
    prefix = f"{uuid.uuid4()}:"

    async with RedisStore(redis.url, 1 << 20, prefix=prefix) as store:
        await store.put("one", BODY, 60)

    with Redis.from_url(redis.url) as client:
        (key,) = client.keys(f"{prefix}answer:*")
        assert 0 < client.pttl(key) <= 60_000


async def test_servers_share_what_redis_keeps(redis: RedisServer) -> None:
    prefix = f"{uuid.uuid4()}:"

    async with (
        RedisStore(redis.url, 1 << 20, prefix=prefix) as one,
        RedisStore(redis.url, 1 << 20, prefix=prefix) as other,
    ):
        await one.put("one", BODY, 60)
        found = await other.get("one", 60)
        # Another sidecar's seconds: the age of this one couldn't be told.
        stranger = await other.get("one", 90)

    assert found is not None
    assert stranger is None


async def test_a_redis_without_its_list_counts_anew(redis: RedisServer) -> None:
    prefix = f"{uuid.uuid4()}:"

    async with RedisStore(redis.url, 2 * ENTRY, prefix=prefix) as store:
        for name in ("one", "two"):
            await store.put(name, BODY, 60)

        with Redis.from_url(redis.url) as client:
            client.delete(f"{prefix}used")

        assert await store.put("three", BODY, 60)
        figures = await store.figures()

    assert figures is not None
    assert (figures.entries, figures.nbytes) == (1, ENTRY)


async def test_a_full_redis_keeps_no_more_answers(redis: RedisServer) -> None:
    prefix = f"{uuid.uuid4()}:"

    with Redis.from_url(redis.url) as client:
        async with RedisStore(redis.url, 1 << 20, prefix=prefix) as store:
            await store.put("one", BODY, 60)
            client.config_set("maxmemory", 1)

            try:
                with capture_logs() as logs:
                    kept = await store.put("two", BODY, 60)
                    found = await store.get("one", 60)
                    await store.put("three", BODY, 60)
            finally:
                client.config_set("maxmemory", 0)

            assert not kept
            assert [each["event"] for each in logs] == [
                "response cache refused by Redis"
            ]
            # It isn't away: nothing has to be waited for.
            assert await store.put("two", BODY, 60)

    assert found is not None


async def test_an_answer_too_long_for_a_moment_is_not_sent(redis: RedisServer) -> None:
    async with RedisStore(redis.url, 1 << 30, prefix=f"{uuid.uuid4()}:") as store:
        assert not await store.put("one", b"x" * MOST_BYTES, 60)


async def test_a_redis_that_is_away_is_asked_once_in_a_while(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        async with RedisStore(server.url, 1 << 20) as store:
            await store.put("one", BODY, 60)
            server.kill()
            assert await store.get("one", 60) is None
            server.start()

            # It is back, and nobody asks before its time.
            assert await store.get("one", 60) is None
            assert await store.figures() is None
            monkeypatch.setattr(store, "_ask_again", 0.0)
            assert await store.put("one", BODY, 60)
            assert await store.get("one", 60) is not None


async def test_a_request_waits_for_a_redis_that_hangs_but_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_module, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(redis_module, "PAUSE_SECONDS", 60.0)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        async with RedisStore(f"redis://127.0.0.1:{port}", 1 << 20) as store:
            assert await store.get("one", 60) is None
            monkeypatch.setattr(redis_module, "ANSWER_SECONDS", 60.0)
            assert not await store.put("one", BODY, 60)


async def test_a_redis_that_hangs_is_given_up_after_milliseconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_module, "ANSWER_SECONDS", 0.01)
    connected = 0

    async def hang(stream: anyio.abc.SocketStream) -> None:
        nonlocal connected
        connected += 1

        async with stream:
            await anyio.sleep_forever()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, hang)

            async with RedisStore(f"redis://127.0.0.1:{port}", 1 << 20) as store:
                answers = []

                for _ in range(50):
                    answers.append(await store.get("one", 60))
                    # Between two timeouts nobody asks: as if that pause were over.
                    pauses = store._ask_again if store._away else 0.0
                    monkeypatch.setattr(store, "_ask_again", pauses)

            tasks.cancel_scope.cancel()

    assert answers == [None] * 50
    # It counts as away from then on.
    assert connected <= redis_module.MOST_TIMEOUTS
