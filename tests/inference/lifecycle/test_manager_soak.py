"""Random events on a few models leave nothing behind."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from inference.errors import (
    DeadlineExceeded,
    InvalidModel,
    InvalidSidecar,
    LoadFailed,
    ModelNotFound,
    Unavailable,
)
from inference.lifecycle import cache as cache_module
from inference.lifecycle import retries as retries_module
from inference.repository.sidecar import VersionsTable
from inference.types import ModelId, ModelSpec, QueueStats
from tests.support.shelf import MIB, FakeLoader, shelf

if TYPE_CHECKING:
    from inference.lifecycle.instance import Instance
    from inference.lifecycle.model import Model
    from inference.runtime.loader import Prepared
    from inference.runtime.opening import Loaded
    from tests.support.shelf import Shelf

STEPS = 300
BUDGET = 4 * MIB
NAMES = "abcd"
SIZES = {
    ModelId(name, version): size * MIB
    for name, size in zip(NAMES, (1, 1, 2, 3), strict=True)
    for version in (1, 2, 3)
}
POLICIES = (
    VersionsTable(latest=1),
    VersionsTable(latest=2),
    VersionsTable(all=True),
    VersionsTable(only=(1, 3)),
)
FAULTS = (
    InvalidModel("it is cut."),
    InvalidSidecar("no such key."),
    LoadFailed("no disk."),
    RuntimeError("a bug"),
)


class Unsteady(FakeLoader):
    """A loader that takes a few turns of the loop, and fails now and then."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(sizes=dict(SIZES))
        self.steady = False
        self.cache: Any = None
        self._chance = chance

    async def prepare(self, *args: Any, **options: Any) -> Prepared:
        made = await super().prepare(*args, **options)
        await self._turns()
        return made

    async def open(self, prepared: Prepared) -> Loaded:
        assert self.cache.nbytes + prepared.nbytes <= BUDGET
        await self._turns()
        return await super().open(prepared)

    async def _turns(self) -> None:
        for _ in range(self._chance.randrange(8)):
            await anyio.lowlevel.checkpoint()

        if not self.steady and self._chance.random() < 0.15:
            raise self._chance.choice(FAULTS)


class Life:
    """Random steps; requests and orders run concurrently."""

    def __init__(self, it: Shelf, chance: random.Random) -> None:
        self._it = it
        self._chance = chance
        self._disk = {name: {1: "0"} for name in NAMES}
        self.answered = self.refused = 0

    async def live(self) -> None:
        steps = [
            self.snapshot,
            self.order,
            self.cancelled,
            self.ask,
            self.ask,
            self.ask,
        ]

        async with anyio.create_task_group() as tasks:
            for _ in range(STEPS):
                tasks.start_soon(self._chance.choice(steps))

                for _ in range(self._chance.randrange(6)):
                    await anyio.lowlevel.checkpoint()

    async def ask(self) -> None:
        spec = self._spec()
        allowed = {1, 2, 3} if spec.version is None else {spec.version}

        try:
            result = await self._it.ask(
                spec.name, 4.0, version=spec.version, label=spec.label
            )
        except (Unavailable, DeadlineExceeded, ModelNotFound):
            self.refused += 1
        else:
            self.answered += 1
            assert result.outputs["y"].tolist() == [[8.0]]
            assert (result.model.name, result.model.version in allowed) == (
                spec.name,
                True,
            )

    async def cancelled(self) -> None:
        """Cancel a request or an order."""
        act = self._chance.choice([self.ask, self.order])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(act)

            for _ in range(self._chance.randrange(10)):
                await anyio.lowlevel.checkpoint()

            tasks.cancel_scope.cancel()

    async def snapshot(self) -> None:
        name = self._chance.choice(NAMES)
        versions = self._disk[name]
        number = self._chance.choice((1, 2, 3))

        if self._chance.random() < 0.3:
            versions.pop(number, None)
        else:
            versions[number] = str(self._chance.randrange(3))

        self._it.look(
            {name: dict(found) for name, found in self._disk.items() if found},
            quiet=self._chance.random() < 0.8,
            now=self._chance.random() < 0.4,
            table=self._chance.choice(POLICIES),
            labels={"stable": self._chance.choice((1, 2, 3))},
            pinned=self._chance.choice(["", "", "a", "b"]),
        )

    async def order(self) -> None:
        manager, spec = self._it.manager, self._spec()

        try:
            models = self._it.catalog.select(spec)
            order = self._chance.choice([manager.load, manager.unload, self._label])

            for model in models:
                model.resize(self._chance.choice((1, 2)))
                await order(model)
        except (Unavailable, ModelNotFound):
            self.refused += 1

    async def _label(self, model: Model) -> None:
        entry = self._it.catalog.entry(model.id.name)
        number = self._chance.choice((1, 2, 3, None))
        labels = {"stable": number, "canary": self._chance.choice((1, 2, None))}
        await self._it.manager.label(entry, labels)

    def _spec(self) -> ModelSpec:
        version, label = self._chance.choice(
            [(None, None), (1, None), (2, None), (None, "stable"), (None, "canary")]
        )
        return ModelSpec(name=self._chance.choice(NAMES), version=version, label=label)


@pytest.mark.parametrize("seed", range(12))
async def test_random_events_keep_the_manager_consistent(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(retries_module, "FIRST_SECONDS", 0.001)
    chance = random.Random(seed)
    loader = Unsteady(chance)

    # What is logged of the unexpected is long to write.
    with capture_logs():
        await live(loader, chance)


async def live(loader: Unsteady, chance: random.Random) -> None:
    async with shelf(loader, budget=BUDGET) as it:
        loader.cache = it.cache
        life = Life(it, chance)

        with anyio.fail_after(60):
            await life.live()

            # How many are answered depends on the threads: go on until it is enough.
            while life.answered <= STEPS / 20:
                await life.live()

            await it.manager.wait_settled()
            await it.calm()
            # A thread may still run the call of a request that was cancelled.
            await it.until(lambda: not any(map(is_busy, it.cache._instances)))
            assert_nothing_left(it)
            await assert_all_can_be_had(it, loader)


def is_busy(instance: Instance) -> bool:
    return instance.batcher.stats() != QueueStats()


def assert_nothing_left(it: Shelf) -> None:
    cache, models = it.cache, it.catalog.models()
    assert (cache._loading, it.manager._updates) == ({}, {})
    assert set(cache._instances.values()) <= set(models)
    assert set(cache._evicted) <= set(models)
    assert set(cache._retries._attempts) <= set(models)
    history = it.manager._history
    assert set(history._tried) | history._refused <= set(models)
    assert set(history._retries._attempts) <= set(models)
    assert all(model.instance is each for each, model in cache._instances.items())
    assert all(each.idle for each in cache._instances)
    assert not any(map(is_busy, cache._instances))
    assert "UNLOADING" not in it.states().values()
    closed = sum(servable.closed for _, servable in it.loader.opened)
    assert closed + len(cache._instances) == len(it.loader.opened)
    assert cache.nbytes <= BUDGET


async def assert_all_can_be_had(it: Shelf, loader: Unsteady) -> None:
    """Check that each version on disk can be loaded and called."""
    loader.steady = True
    it.look({name: {1: "last"} for name in NAMES}, now=True)
    await it.manager.wait_settled()
    await anyio.wait_all_tasks_blocked()

    for name in NAMES:
        it.catalog.pin(ModelSpec(name=name), False)
        await it.manager.load(it.catalog.find(ModelSpec(name=name, version=1)))
        result = await it.ask(name, version=1)
        assert result.outputs["y"].tolist() == [[2.0]]
