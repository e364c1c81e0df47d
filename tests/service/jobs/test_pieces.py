"""The contract of a store that keeps bodies and results in pieces."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from service.jobs.bounds import Bounds
from service.jobs.redis import RedisStore
from service.jobs.sqlite import SqliteStore
from service.jobs.store import JobNotFound, JobsFull, PieceStore
from tests.service.jobs.test_store import DONE, LEASE, Clock, claimed, submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from service.jobs.job import Submission


class Place(Protocol):
    """Where jobs are kept; each server opens a store of its own on it."""

    clock: Clock

    def open(self, **bounds: int) -> AbstractAsyncContextManager[PieceStore]: ...


class RedisPlace:
    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self._url = url
        self._prefix = f"test-{uuid.uuid4()}"

    def open(self, **bounds: int) -> AbstractAsyncContextManager[PieceStore]:
        return RedisStore(
            self._url,
            Bounds(**bounds),
            self.clock,
            prefix=self._prefix,
            answer_seconds=60,
        )


class SqlitePlace:
    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self._folder = folder

    def open(self, **bounds: int) -> AbstractAsyncContextManager[PieceStore]:
        return SqliteStore(self._folder, Bounds(**bounds), self.clock)


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "jobs")

    return RedisPlace(request.getfixturevalue("redis").url)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[PieceStore]:
    async with place.open() as opened:
        yield opened


async def test_it_is_known_to_keep_pieces(store: PieceStore) -> None:
    assert isinstance(store, PieceStore)


def kept(nbytes: int, **changes: object) -> Submission:
    """A submission whose body of `nbytes` is kept already."""
    made = submission(b"", **changes)
    return replace(made, request=replace(made.request, kept_bytes=nbytes))


async def test_a_large_body_is_kept_in_pieces(place: Place) -> None:
    large = kept(6)

    async with place.open() as store:
        await store.keep_body(large.id, 0, b"one")
        await store.keep_body(large.id, 3, b"two")
        await store.submit(large)

    async with place.open() as store:
        request = await store.request(large.id)
        pieces = [await store.body_piece(large.id, start, 4) for start in (0, 4, 6)]

    assert (request.kept_bytes, request.body) == (6, b"")
    assert pieces == [b"onet", b"wo", b""]


async def test_a_piece_replaces_what_was_kept_from_there_on(store: PieceStore) -> None:
    large = kept(5)
    await store.keep_body(large.id, 0, b"first try")
    await store.keep_body(large.id, 0, b"one")
    await store.keep_body(large.id, 3, b"2nd")
    await store.keep_body(large.id, 3, b"22")
    await store.submit(large)

    assert await store.body_piece(large.id, 0, 100) == b"one22"


MIB = 1 << 20


async def test_bodies_and_results_are_longer_than_a_block_of_the_store(
    store: PieceStore,
) -> None:
    """In Redis a block has 8 MiB: pieces end in the middle of one, and cross one."""
    body = b"".join(bytes([number]) * (3 * MIB + number) for number in range(4))
    large = kept(len(body))

    for start in range(0, len(body), 3 * MIB):
        await store.keep_body(large.id, start, body[start : start + 3 * MIB])

    # What was kept further on in an earlier try doesn't count.
    await store.keep_body(large.id, 0, body[: 3 * MIB])

    for start in range(3 * MIB, len(body), 3 * MIB):
        await store.keep_body(large.id, start, body[start : start + 3 * MIB])

    await store.submit(large)
    running = await claimed(store)
    read = b""

    while piece := await store.body_piece(large.id, len(read), 7 * MIB):
        await store.keep_result(running, len(read), piece)
        read += piece

    done = replace(DONE, body=b"", kept_bytes=len(read))
    assert await store.complete(running, done)
    result = [await store.result_piece(large.id, at, 9 * MIB) for at in (0, 9 * MIB)]

    assert read == body
    assert b"".join(result) == body
    await store.delete(large.id)


async def test_a_dropped_body_is_gone(store: PieceStore) -> None:
    large = kept(3)
    await store.keep_body(large.id, 0, b"one")
    await store.drop_body(large.id)
    await store.drop_body(large.id)

    with pytest.raises(JobNotFound):
        await store.body_piece(large.id, 0, 3)


async def test_a_large_result_is_kept_in_pieces(place: Place) -> None:
    large = kept(3)
    done = replace(DONE, body=b"", kept_bytes=4)

    async with place.open() as store:
        await store.keep_body(large.id, 0, b"one")
        await store.submit(large)
        claim = await claimed(store)
        await store.keep_result(claim, 0, b"an")
        await store.keep_result(claim, 2, b"sw")

        with pytest.raises(JobNotFound):
            await store.result_piece(large.id, 0, 4)

        held = await store.complete(claim, done)

    async with place.open() as store:
        result = await store.result(large.id)
        piece = await store.result_piece(large.id, 1, 100)

        with pytest.raises(JobNotFound):
            await store.body_piece(large.id, 0, 3)

    assert (held, result, piece) == (True, done, b"nsw")


async def test_a_late_run_does_not_change_a_large_result(place: Place) -> None:
    large = kept(3)

    async with place.open() as dead, place.open() as living:
        await dead.keep_body(large.id, 0, b"one")
        await dead.submit(large)
        late = await claimed(dead)
        await dead.keep_result(late, 0, b"late")
        place.clock.now += LEASE + 1
        claim = await claimed(living)
        await living.keep_result(claim, 0, b"first")
        await living.complete(claim, replace(DONE, body=b"", kept_bytes=5))
        await dead.keep_result(late, 4, b"er")
        held = await dead.complete(late, replace(DONE, body=b"", kept_bytes=6))

        assert not held
        assert await living.result_piece(large.id, 0, 100) == b"first"


async def test_bytes_of_kept_bodies_and_results_are_bounded(place: Place) -> None:
    large = kept(6)

    async with place.open(nbytes=10) as store:
        await store.keep_body(large.id, 0, b"123456")
        await store.submit(large)
        claim = await claimed(store)
        await store.keep_result(claim, 0, b"1234")

        with pytest.raises(JobsFull, match="--max-jobs-bytes"):
            await store.keep_result(claim, 4, b"5")

        with pytest.raises(JobsFull, match="--max-jobs-bytes"):
            await store.keep_body("another", 0, b"12345")
