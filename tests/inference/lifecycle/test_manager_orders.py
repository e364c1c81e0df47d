"""An operator's orders: load, unload, pin, resize."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from inference.errors import (
    InvalidModel,
    LoadFailed,
    ModelUnloaded,
    VersionNotFound,
)
from inference.lifecycle import cache as cache_module
from inference.types import ModelId, ModelSpec
from tests.support.shelf import MIB, FakeLoader, seen, shelf

if TYPE_CHECKING:
    from inference.lifecycle.model import Model
    from tests.support.shelf import Shelf

A = ModelId("a", 1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loads evict busy versions without a wait."""
    monkeypatch.setattr(cache_module, "PATIENCE_SECONDS", 0.0)


def model(it: Shelf, name: str = "a") -> Model:
    return it.catalog.find(ModelSpec(name=name))


async def test_unloaded_version_stays_unloaded_until_load() -> None:
    async with shelf() as it:
        await it.load("a")
        await it.manager.unload(model(it))
        assert (it.states(), it.cache.nbytes) == ({"a/1": "END"}, 0)

        for content in "a", "a", "other":
            await seen(it, {"a": {1: content}})

            with pytest.raises(ModelUnloaded, match="an operator can load it"):
                await it.ask("a")

        await it.manager.load(model(it))
        await it.ask("a")
        assert it.in_memory() == ["a/1"]


async def test_unload_during_compilation() -> None:
    async with shelf() as it:
        it.loader.compiling = anyio.Event()
        it.look({"a": {1: "a"}})
        await anyio.wait_all_tasks_blocked()
        await it.manager.unload(model(it))
        it.loader.compiling.set()
        await it.manager.wait_settled()
        assert (it.states(), it.loader.opened) == ({"a/1": "END"}, [])

        await it.manager.load(model(it))
        assert (it.in_memory(), it.loader.prepared) == (["a/1"], [A])


async def test_unload_during_loading() -> None:
    async with shelf() as it:
        it.loader.opening = anyio.Event()
        it.look({"a": {1: "a"}})
        await anyio.wait_all_tasks_blocked()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.manager.unload, model(it))
            await anyio.wait_all_tasks_blocked()
            it.loader.opening.set()

        assert (it.states(), it.cache.nbytes) == ({"a/1": "END"}, 0)
        assert it.loader.latest("a").closed


async def test_unload_continues_after_cancellation() -> None:
    async with shelf(FakeLoader(gated=True)) as it:
        await it.load("a")
        servable = it.loader.latest("a")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask, "a")
            await servable.until_ran(1)

            with anyio.move_on_after(0):
                await it.manager.unload(model(it))

            servable.let_through()

        await it.calm()
        assert (servable.closed, it.cache.nbytes) == (True, 0)


async def test_load_retries_a_failed_version() -> None:
    loader = FakeLoader(broken={A: InvalidModel("it is cut.")})

    async with shelf(loader) as it:
        await it.load("a")

        with pytest.raises(LoadFailed, match="it is cut"):
            await it.manager.load(model(it))

        assert loader.prepared == [A, A]
        loader.broken.clear()
        await it.manager.load(model(it))
        assert it.in_memory() == ["a/1"]


async def test_load_waits_for_an_update_in_progress() -> None:
    async with shelf() as it:
        it.loader.compiling = anyio.Event()
        it.look({"a": {1: "a"}})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.manager.load, model(it))
            await anyio.wait_all_tasks_blocked()
            it.loader.compiling.set()

        assert (it.in_memory(), it.loader.prepared) == (["a/1"], [A])


async def test_loading_a_retiring_version_is_refused() -> None:
    async with shelf(FakeLoader(gated=True)) as it:
        await it.load("a", "b")
        going, servable = model(it), it.loader.latest("a")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask, "a")
            await servable.until_ran(1)
            it.look({"b": {1: "a"}}, now=True)

            with pytest.raises(ModelUnloaded, match="being unloaded"):
                await it.manager.load(going)

            servable.let_through()

        await it.calm()
        assert it.states() == {"b/1": "AVAILABLE"}


async def test_pinned_versions_stay_loaded() -> None:
    async with shelf() as it:
        await seen(it, {"a": {1: "a"}, "b": {1: "b"}}, pinned=["a"])
        assert (model(it).pinned, model(it, "b").pinned) == (True, False)

        it.catalog.pin(ModelSpec(name="a"), False)
        it.catalog.pin(ModelSpec(name="b"), True)
        await seen(it, {"a": {1: "a"}, "b": {1: "b", 2: "c"}}, pinned=["a"])
        assert (model(it).pinned, model(it, "b").pinned) == (False, True)


async def test_pinned_version_gives_way_to_its_replacement() -> None:
    async with shelf(budget=MIB) as it:
        await seen(it, {"a": {1: "a"}}, pinned=["a"])
        first = it.loader.latest("a")

        with anyio.fail_after(10):
            await seen(it, {"a": {1: "other"}}, pinned=["a"])

        assert (first.closed, it.in_memory()) == (True, ["a/1"])
        assert len(it.loader.opened) == 2


async def test_pin_while_a_load_waits_for_room() -> None:
    """The load fails instead of waiting forever, and blocks no unload."""
    async with shelf(FakeLoader(gated=True), budget=2 * MIB) as it:
        it.loader.sizes[ModelId("c", 1)] = 2 * MIB
        await it.load("a", "b", "c")
        servable, errors = it.loader.latest("a"), []

        async def ask() -> None:
            with pytest.raises(
                LoadFailed, match="pinned models take 1.0 MiB"
            ) as raised:
                await it.ask("c")

            errors.append(raised.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask, "a")
            await servable.until_ran(1)
            tasks.start_soon(it.ask, "b")
            await it.loader.latest("b").until_ran(1)
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert it.in_memory() == ["b/1"]
            it.catalog.pin(ModelSpec(name="b"), True)
            servable.let_through()
            it.loader.latest("b").let_through()

        assert len(errors) == 1
        with anyio.fail_after(10):
            await it.manager.unload(model(it, "b"))


async def test_concurrency_survives_an_eviction() -> None:
    async with shelf(budget=MIB) as it:
        await it.load("a", "b")
        model(it).resize(7)
        await it.ask("b")
        assert it.in_memory() == ["b/1"]
        await it.ask("a")
        assert model(it).status().concurrency == 7


async def test_load_of_removed_files_is_refused_and_their_version_answers_on() -> None:
    async with shelf() as it:
        await it.load("a")
        first = model(it)
        it.loader.broken = {
            A: InvalidModel("cut."),
            ModelId("a", 2): InvalidModel("no"),
        }
        await seen(it, {"a": {1: "changed"}})
        await seen(it, {"a": {2: "b"}}, now=True)
        assert it.states() == {"a/1": "AVAILABLE", "a/2": "END"}

        with pytest.raises(VersionNotFound, match="put them back"):
            await it.manager.load(first)

        assert (await it.ask("a")).model == A
