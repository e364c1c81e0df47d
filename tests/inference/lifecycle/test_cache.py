"""Loaded versions within a budget: loads, waits and evictions."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from inference.errors import DeadlineExceeded, ExecutionFailed, LoadFailed
from inference.lifecycle import cache as cache_module
from inference.types import ModelId, ModelSpec
from tests.support.shelf import MIB, FakeLoader, shelf

if TYPE_CHECKING:
    from inference.runtime.loader import Prepared
    from inference.runtime.opening import Loaded

asking = ContextVar("asking", default="nobody")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads evict busy versions without a wait."""
    monkeypatch.setattr(cache_module, "PATIENCE_SECONDS", 0.0)


async def test_versions_over_the_budget_are_loaded_on_request() -> None:
    async with shelf(budget=3 * MIB) as it:
        await it.load(*"abcde")
        assert it.in_memory() == ["a/1", "b/1", "c/1"]
        assert set(it.states().values()) == {"AVAILABLE"}

        for name in "abc":
            await it.ask(name)

        result = await it.ask("e", 4.0)
        assert result.outputs["y"].tolist() == [[8.0]]
        assert it.in_memory() == ["b/1", "c/1", "e/1"]
        assert (it.cache.loads, it.cache.evictions, it.cache.reloads) == (4, 1, 0)

        await it.ask("a")
        assert it.in_memory() == ["a/1", "c/1", "e/1"]
        assert (it.cache.loads, it.cache.evictions, it.cache.reloads) == (5, 2, 1)
        assert it.cache.nbytes == 3 * MIB


async def test_large_version_evicts_as_many_as_needed() -> None:
    loader = FakeLoader(sizes={ModelId("large", 1): 2 * MIB})

    async with shelf(loader, budget=3 * MIB) as it:
        await it.load("a", "b", "c", "large")
        await it.ask("b")
        await it.ask("a")
        await it.ask("large")
        assert it.in_memory() == ["a/1", "large/1"]


async def test_requests_for_one_version_share_its_load() -> None:
    async with shelf(budget=MIB) as it:
        await it.load("a", "b")
        it.loader.opening = anyio.Event()

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(it.ask, "b", number)

            await anyio.wait_all_tasks_blocked()
            it.loader.opening.set()

        assert [str(of) for of, _ in it.loader.opened] == ["a/1", "b/1"]


async def test_loads_are_not_in_the_context_of_who_asked() -> None:
    found: list[str] = []

    class Asking(FakeLoader):
        async def open(self, prepared: Prepared) -> Loaded:
            found.append(asking.get())
            return await super().open(prepared)

    async with shelf(Asking(), budget=MIB) as it:
        await it.load("a", "b")
        asking.set("the first client")
        await it.ask("b")

    assert found == ["nobody", "nobody"]


async def test_version_in_use_is_never_evicted() -> None:
    """It gets no new request, and is closed after the one in flight."""
    async with shelf(FakeLoader(gated=True), budget=MIB) as it:
        await it.load("a", "b")
        held = it.loader.latest("a")
        model = it.catalog.find(ModelSpec(name="a"))
        answers: list[str] = []

        async def ask(name: str) -> None:
            result = await it.ask(name)
            answers.append(str(result.model))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "a")
            await held.until_ran(1)
            tasks.start_soon(ask, "b")
            await anyio.wait_all_tasks_blocked()
            assert not held.closed
            assert [str(of) for of, _ in it.loader.opened] == ["a/1"]
            assert model.instance is None
            assert it.cache.nbytes == MIB

            held.let_through()
            with anyio.fail_after(10):
                while len(it.loader.opened) < 2:
                    await anyio.lowlevel.checkpoint()

            assert held.closed
            it.loader.latest("b").let_through()

        assert answers == ["a/1", "b/1"]


async def test_idle_version_is_evicted_before_a_busy_one() -> None:
    async with shelf(FakeLoader(gated=True), budget=2 * MIB) as it:
        await it.load("a", "b", "c")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask, "b")
            await it.loader.latest("b").until_ran(1)
            it.loader.latest("a").let_through()
            await it.ask("a")
            tasks.start_soon(it.ask, "c")

            with anyio.fail_after(10):
                while len(it.loader.opened) < 3:
                    await anyio.lowlevel.checkpoint()

            assert not it.loader.latest("b").closed
            assert it.loader.latest("a").closed
            it.loader.latest("b").let_through()
            it.loader.latest("c").let_through()


async def test_pinned_versions_are_not_evicted() -> None:
    async with shelf(budget=2 * MIB) as it:
        await it.load("a", "b", "c")
        it.catalog.pin(ModelSpec(name="a"), True)
        await it.ask("b")
        await it.ask("c")
        assert it.in_memory() == ["a/1", "c/1"]

        it.catalog.pin(ModelSpec(name="c", version=1), True)
        with pytest.raises(LoadFailed, match="1.0 MiB .* pinned .* 2.0 MiB .* 2.0 MiB"):
            await it.ask("b")

        it.catalog.pin(ModelSpec(name="a"), False)
        it.cache.reset_backoff(it.catalog.find(ModelSpec(name="b")))
        await it.ask("b")
        assert it.in_memory() == ["b/1", "c/1"]


async def test_version_over_the_budget_is_refused() -> None:
    async with shelf(FakeLoader(sizes={ModelId("a", 1): 5 * MIB}), budget=MIB) as it:
        await it.load("a")
        assert it.states() == {"a/1": "END"}

        with pytest.raises(LoadFailed, match="needs 5.0 MiB .* all models is 1.0 MiB"):
            await it.ask("a")

        assert it.loader.opened == []


async def test_failed_load_backs_off() -> None:
    async with shelf(budget=MIB) as it:
        await it.load("a", "b")
        it.loader.stuck[ModelId("b", 1)] = LoadFailed("the disk is gone.")

        for _ in range(3):
            with pytest.raises(
                LoadFailed, match="gone. The next retry is in"
            ) as caught:
                await it.ask("b")

            assert 0 < (caught.value.retry_after or 0) <= 5

        assert it.cache.load_failures == 1
        assert it.in_memory() == []

        del it.loader.stuck[ModelId("b", 1)]
        it.cache.reset_backoff(it.catalog.find(ModelSpec(name="b")))
        await it.ask("b")
        await it.ask("a")


async def test_unexpected_failure_affects_no_other_model() -> None:
    async with shelf(budget=MIB) as it:
        await it.load("a", "b")
        it.loader.stuck[ModelId("b", 1)] = RuntimeError("a bug\nand its story")

        with pytest.raises(LoadFailed, match="loaded: a bug The next retry"):
            await it.ask("b")

        await it.ask("a")


async def test_waiting_for_a_load_ends_at_the_deadline() -> None:
    async with shelf(budget=MIB) as it:
        await it.load("a", "b")
        it.loader.opening = anyio.Event()
        model = it.catalog.find(ModelSpec(name="b"))

        with pytest.raises(DeadlineExceeded, match="its model was loading"):
            await it.cache.instance(model, anyio.current_time())

        it.loader.opening.set()
        await it.ask("b")
        assert len(it.loader.opened) == 2


async def test_unloading_waits_for_the_requests() -> None:
    async with shelf(FakeLoader(gated=True)) as it:
        await it.load("a")
        servable, model = it.loader.latest("a"), it.catalog.find(ModelSpec(name="a"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask, "a")
            await servable.until_ran(1)
            tasks.start_soon(it.cache.unload, model)
            await anyio.wait_all_tasks_blocked()
            assert (servable.closed, it.cache.nbytes) == (False, MIB)
            servable.let_through()

        assert (servable.closed, it.cache.nbytes) == (True, 0)


async def test_broken_batcher_affects_no_other_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with shelf() as it:
        await it.load("a", "b")
        model = it.catalog.find(ModelSpec(name="a"))
        assert model.instance is not None
        broken = model.instance.batcher

        def fail(*_: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(broken._queue, "take", fail)

        with pytest.raises(Exception, match="unloaded"):
            await it.ask("a")

        await anyio.wait_all_tasks_blocked()
        assert it.in_memory() == ["b/1"]
        assert (await it.ask("a")).outputs["y"].tolist() == [[2.0]]


async def test_failed_request_releases_its_lease() -> None:
    async with shelf() as it:
        await it.load("a")
        model = it.catalog.find(ModelSpec(name="a"))
        assert model.instance is not None

        with pytest.raises(ExecutionFailed):
            await it.ask("a", 666)

        assert model.instance.idle


async def test_loaded_version_answers_before_it_is_evicted() -> None:
    """Otherwise two models with room for one would load in turn and never answer."""
    async with shelf(budget=MIB) as it:
        await it.load("a", "b")
        model = it.catalog.find(ModelSpec(name="a"))
        await it.cache.unload(model)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for name in "abab":
                    tasks.start_soon(it.ask, name)

        assert [str(of) for of, _ in it.loader.opened] == ["a/1", "a/1", "b/1"]


async def test_closing_version_isnt_counted_as_pinned() -> None:
    """The replacement of a pinned version must not wait for its predecessor."""
    async with shelf(FakeLoader(gated=True), budget=2 * MIB) as it:
        await it.load("a", "b")
        old = it.loader.latest("a")
        it.catalog.pin(ModelSpec(name="a"), True)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask, "a")
            await old.until_ran(1)
            it.look({"a": {1: "new"}, "b": {1: "a"}})
            await it.manager.wait_settled()
            assert it.in_memory() == ["a/1"]
            tasks.start_soon(it.ask, "b")
            await anyio.wait_all_tasks_blocked()
            assert (old.closed, it.cache.load_failures) == (False, 0)
            old.let_through()

            with anyio.fail_after(10):
                while len(it.loader.opened) < 4:
                    await anyio.lowlevel.checkpoint()

            it.loader.latest("b").let_through()

        assert it.in_memory() == ["a/1", "b/1"]


async def test_load_over_its_expected_size_evicts_idle_versions() -> None:
    loader = FakeLoader(excess={ModelId("c", 1): MIB})

    async with shelf(loader, budget=3 * MIB) as it:
        await it.load("a", "b", "c")
        assert it.in_memory() == ["b/1", "c/1"]

        with anyio.fail_after(10):
            while it.cache.nbytes > 3 * MIB:
                await anyio.lowlevel.checkpoint()


async def test_others_load_and_unload_while_an_evicted_versions_call_runs() -> None:
    loader = FakeLoader(gated=True, sizes={ModelId("large", 1): 3 * MIB})

    async with shelf(loader, budget=4 * MIB) as it:
        await it.load("a", "b", "large", "other", "small")
        busy = {name: it.loader.latest(name) for name in "ab"}

        async with anyio.create_task_group() as tasks:
            for name, servable in busy.items():
                tasks.start_soon(it.ask, name)
                await servable.until_ran(1)

            tasks.start_soon(it.ask, "large")
            await anyio.wait_all_tasks_blocked()
            assert it.in_memory() == ["b/1"], "the one that was asked first leaves"

            tasks.start_soon(it.ask, "small")
            await it.until(lambda: opened(it.loader, "small") == 2)
            assert not busy["a"].closed, "its call runs on"
            await it.manager.unload(it.catalog.find(ModelSpec(name="other")))

            for servable in (*busy.values(), it.loader.latest("small")):
                servable.let_through()

            await it.until(lambda: opened(it.loader, "large") == 1)
            it.loader.latest("large").let_through()


def opened(loader: FakeLoader, name: str) -> int:
    return [of.name for of, _ in loader.opened].count(name)


async def test_smaller_budget_evicts_idle_versions_then_busy_ones() -> None:
    async with shelf(FakeLoader(gated=True), budget=3 * MIB) as it:
        await it.load("a", "b", "c")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask, "a")
            await it.loader.latest("a").until_ran(1)
            it.cache.resize(2 * MIB)
            await it.until(lambda: it.in_memory() == ["a/1", "c/1"])
            it.cache.resize(MIB)
            await it.until(lambda: it.in_memory() == ["a/1"])
            it.cache.resize(MIB // 2)
            # Its request is still answered.
            it.loader.latest("a").let_through()

        await it.until(lambda: it.in_memory() == [])
        assert it.cache.evictions == 3


async def test_pinned_versions_stay_beyond_a_smaller_budget() -> None:
    async with shelf(budget=2 * MIB) as it:
        await it.load("a", "b")
        it.catalog.pin(ModelSpec(name="a"), True)
        it.cache.resize(MIB // 2)
        await it.until(lambda: it.in_memory() == ["a/1"])


async def test_larger_budget_lets_a_waiting_load_in() -> None:
    loader = FakeLoader(sizes={ModelId("large", 1): 2 * MIB})

    async with shelf(loader, budget=MIB) as it:
        await it.load("a")
        it.cache.resize(3 * MIB)
        it.look({"a": {1: "a"}, "large": {1: "a"}})
        await it.manager.wait_settled()
        assert it.in_memory() == ["a/1", "large/1"]
