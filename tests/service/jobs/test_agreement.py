"""Both stores, told the same at random, answer the same."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from service.jobs.bounds import Bounds
from service.jobs.job import Claim, Job, JobStatus
from service.jobs.redis import RedisStore
from service.jobs.sqlite import SqliteStore
from service.jobs.store import JobError
from tests.service.jobs.test_store import DONE, Clock, submission

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from service.jobs.store import JobStore
    from tests.support.redis_servers import RedisServer

SEEDS = range(6)
STEPS = 150
MODELS = "abc"


@dataclass(slots=True)
class Both:
    """Two stores with one clock, and what they have told so far."""

    stores: tuple[JobStore, JobStore]
    clock: Clock
    chance: random.Random
    ids: list[str] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    async def ask(self, verb: str, *args: object, **options: object) -> Any:
        one, other = [
            await _outcome(store, verb, args, options) for store in self.stores
        ]
        assert one == other, (verb, args, options)
        return one

    async def step(self) -> None:
        name = self.chance.choices(list(STEPPED), list(STEPPED.values()))[0]
        await getattr(self, f"_{name}")()
        await self.ask("counts")
        await self.ask("oldest_queued")

    def _new_id(self) -> str:
        return str(UUID(int=self.chance.getrandbits(128)))

    def _id(self) -> str:
        return self.chance.choice([*self.ids, self._new_id()])

    async def _submit(self) -> None:
        size = self.chance.randrange(60)
        sent = submission(
            bytes(size),
            id=self.chance.choice([self._new_id(), self._new_id(), self._id()]),
            key=self.chance.choice([None, None, f"key {self.chance.randrange(8)}"]),
            digest=str(size % 3),
            model=self.chance.choice(MODELS),
            queue_seconds=self.chance.choice([5, 50, 500]),
            result_seconds=self.chance.choice([5, 50, 90_000]),
        )
        accepted = await self.ask("submit", sent)

        if isinstance(accepted, Job):
            self.ids.append(accepted.id)

    async def _claim(self) -> None:
        claim = await self.ask(
            "claim",
            f"server {self.chance.randrange(3)}",
            lease_seconds=self.chance.choice([3, 30]),
            skip=self.chance.sample(MODELS, self.chance.randrange(3)),
        )

        if isinstance(claim, Claim):
            self.claims.append(claim)

    async def _work(self) -> None:
        if not self.claims:
            return

        claim = self.chance.choice(self.claims)
        result = replace(DONE, body=bytes(self.chance.randrange(40)))
        verbs: dict[str, tuple[object, ...]] = {
            "renew": (),
            "advance": (1,),
            "give_back": (),
            "complete": (result,),
        }
        verb = self.chance.choice(list(verbs))
        failed = verb == "complete" and self.chance.random() < 0.5
        await self.ask(verb, claim, *verbs[verb], **({"error": "no"} if failed else {}))

    async def _look(self) -> None:
        await self.ask(self.chance.choice(["get", "result"]), self._id())
        await self.ask(
            "page",
            status=self.chance.choice([None, *JobStatus]),
            model=self.chance.choice([None, *MODELS]),
            limit=self.chance.choice([1, 3, 100]),
            before=self.chance.choice([None, self._id()]),
        )

    async def _end(self) -> None:
        await self.ask(self.chance.choice(["cancel", "delete"]), self._id())

    async def _pass_time(self) -> None:
        self.clock.now += self.chance.choice([0.5, 4, 10, 31, 100])

        if self.chance.random() < 0.1:
            self.clock.now += 100_000

        if self.chance.random() < 0.5:
            await self.ask("purge")


STEPPED = {"submit": 4, "claim": 4, "work": 4, "look": 1, "end": 1, "pass_time": 3}
"""Steps, and how often each is taken."""


async def _outcome(
    store: JobStore, verb: str, args: Sequence[object], options: dict[str, object]
) -> object:
    """Return what a verb gives, or the error that it raises."""
    try:
        answer = await getattr(store, verb)(*args, **options)
    except JobError as exc:
        return type(exc), str(exc)

    return list(answer) if isinstance(answer, tuple) else answer


@asynccontextmanager
async def both(seed: int, folder: Path, url: str) -> AsyncIterator[Both]:
    chance, clock = random.Random(seed), Clock()
    bounds = Bounds(
        jobs=chance.choice([6, 1000]), nbytes=chance.choice([300, 10**9]), attempts=2
    )
    prefix = f"agreement-{seed}"

    async with (
        SqliteStore(folder, bounds, clock) as one,
        RedisStore(url, bounds, clock, prefix=prefix, answer_seconds=60) as other,
    ):
        yield Both(stores=(one, other), clock=clock, chance=chance)


@pytest.mark.parametrize("seed", SEEDS)
async def test_both_stores_agree(seed: int, tmp_path: Path, redis: RedisServer) -> None:
    async with both(seed, tmp_path, redis.url) as stores:
        for _ in range(STEPS):
            await stores.step()

        assert len(stores.claims) > STEPS // 20
