"""Served versions follow the disk: loaded, replaced, retired."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from inference.errors import InvalidModel, InvalidSidecar, LoadFailed
from inference.lifecycle import manager as manager_module
from inference.types import ModelId
from tests.support.shelf import FakeLoader, prepared, seen, shelf

if TYPE_CHECKING:
    from inference.artifacts.builder import Compiled
    from inference.runtime.loader import Prepared

A2 = ModelId("a", 2)


class Clock:
    """The manager's clock, advanced by hand."""

    now = 1000.0

    def current_time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Only the manager's backoff uses it."""
    clock = Clock()

    class Anyio:
        current_time = staticmethod(clock.current_time)
        Event, Lock = anyio.Event, anyio.Lock

    monkeypatch.setattr(manager_module, "anyio", Anyio)
    return clock


async def test_version_is_loaded_once_it_has_settled() -> None:
    async with shelf() as it:
        await it.load("a")
        await seen(it, {"a": {1: "a", 2: "b"}}, quiet=False)
        assert it.states() == {"a/1": "AVAILABLE", "a/2": "START"}
        assert it.loader.prepared == [ModelId("a", 1)]
        assert str((await it.ask("a")).model) == "a/1"

        await seen(it, {"a": {1: "a", 2: "b"}})
        assert it.states() == {"a/2": "AVAILABLE"}
        assert str((await it.ask("a")).model) == "a/2"
        assert it.loader.latest("a").closed


async def test_old_version_is_unloaded_after_the_switch() -> None:
    async with shelf() as it:
        await it.load("a")
        it.loader.compiling, it.loader.opening = anyio.Event(), anyio.Event()
        it.look({"a": {1: "a", 2: "b"}})

        for state, step in (
            ("LOADING", it.loader.compiling),
            ("LOADING", it.loader.opening),
        ):
            await anyio.wait_all_tasks_blocked()
            assert it.states() == {"a/1": "AVAILABLE", "a/2": state}
            assert str((await it.ask("a")).model) == "a/1"
            assert not it.loader.latest("a", 1).closed
            step.set()

        await it.manager.wait_settled()
        assert str((await it.ask("a")).model) == "a/2"


async def test_old_version_closes_after_its_last_request() -> None:
    async with shelf(FakeLoader(gated=True)) as it:
        await it.load("a")
        old, answers = it.loader.latest("a"), []

        async def ask() -> None:
            answers.append(str((await it.ask("a")).model))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await old.until_ran(1)
            await seen(it, {"a": {1: "a", 2: "b"}})
            assert it.states() == {"a/1": "UNLOADING", "a/2": "AVAILABLE"}
            assert not old.closed
            it.loader.latest("a", 2).let_through()
            await it.ask("a")
            old.let_through()

        await it.calm()
        assert (it.states(), old.closed) == ({"a/2": "AVAILABLE"}, True)
        assert answers == ["a/1"]


async def test_failed_version_leaves_the_old_one_and_is_reported() -> None:
    loader = FakeLoader(broken={A2: InvalidModel("it is cut.")})

    async with shelf(loader) as it:
        await it.load("a")
        await seen(it, {"a": {1: "a", 2: "b"}})
        assert it.states() == {"a/1": "AVAILABLE", "a/2": "END"}
        broken, old = (it.catalog.entry("a").versions[each] for each in (2, 1))
        assert (broken.status().error, old.status().error) == ("it is cut.", None)
        assert it.manager.failures == 1
        assert str((await it.ask("a")).model) == "a/1"

        with pytest.raises(LoadFailed, match="'a' could not be loaded: it is cut"):
            await it.ask("a", version=2)


async def test_refused_version_is_retried_when_it_changes(clock: Clock) -> None:
    loader = FakeLoader(broken={A2: InvalidModel("it is cut.")})

    async with shelf(loader) as it:
        await seen(it, {"a": {2: "b"}})
        clock.now += 1e6
        await seen(it, {"a": {2: "b"}})
        assert loader.prepared == [A2]

        await seen(it, {"a": {2: "changed"}}, quiet=False)
        assert loader.prepared == [A2]
        loader.broken.clear()
        await seen(it, {"a": {2: "changed"}})
        assert it.states() == {"a/2": "AVAILABLE"}
        assert it.catalog.entry("a").versions[2].status().error is None


async def test_repeated_failures_back_off_longer(
    clock: Clock,
) -> None:
    loader = FakeLoader(broken={A2: InvalidModel("it is cut.")})

    async with shelf(loader) as it:
        for count, seconds in ((1, 5), (2, 10), (3, 20)):
            await seen(it, {"a": {2: f"content {count}"}})
            assert len(loader.prepared) == count
            clock.now += seconds - 1
            await seen(it, {"a": {2: f"other than {count}"}})
            assert len(loader.prepared) == count
            clock.now += 1


async def test_rescan_ends_the_backoff(clock: Clock) -> None:
    loader = FakeLoader(broken={A2: InvalidModel("it is cut.")})

    async with shelf(loader) as it:
        await seen(it, {"a": {2: "b"}})
        loader.broken.clear()
        await seen(it, {"a": {2: "mended"}})
        assert it.states() == {"a/2": "END"}
        assert it.manager.problems == [
            "a/2: it failed; the next retry is in 5 s, or now with `tandem rescan`."
        ]

        await seen(it, {"a": {2: "mended"}}, now=True)
        assert (it.states(), it.manager.problems) == ({"a/2": "AVAILABLE"}, [])


async def test_refused_sidecar_is_retried_as_soon_as_it_changes(
    clock: Clock,
) -> None:
    loader = FakeLoader(broken={A2: InvalidSidecar("no such key.")})

    async with shelf(loader) as it:
        for count in (1, 2, 3):
            await seen(it, {"a": {2: f"content {count}"}})
            await seen(it, {"a": {2: f"content {count}"}})
            assert len(loader.prepared) == count


async def test_transient_failure_is_retried_with_the_same_files(
    clock: Clock,
) -> None:
    loader = FakeLoader(broken={A2: LoadFailed("the disk is full.")})

    async with shelf(loader) as it:
        await seen(it, {"a": {2: "b"}})
        await seen(it, {"a": {2: "b"}})
        assert (it.states(), loader.prepared) == ({"a/2": "END"}, [A2])

        clock.now += 5
        loader.broken.clear()
        await seen(it, {"a": {2: "b"}})
        assert it.states() == {"a/2": "AVAILABLE"}


async def test_unexpected_failure_is_reported_in_one_line() -> None:
    loader = FakeLoader(stuck={A2: RuntimeError("a bug\nand its story")})

    async with shelf(loader) as it:
        await seen(it, {"a": {2: "b"}, "c": {1: "c"}})
        assert it.catalog.entry("a").versions[2].status().error == "a bug"
        assert it.states() == {"a/2": "END", "c/1": "AVAILABLE"}


async def test_version_overwritten_in_place_is_reloaded() -> None:
    async with shelf() as it:
        await it.load("a")
        old = it.loader.latest("a")
        await seen(it, {"a": {1: "other"}})
        await it.until(lambda: old.closed)
        assert len(it.loader.opened) == 2
        assert not it.loader.latest("a").closed
        await it.ask("a")

        it.loader.broken[ModelId("a", 1)] = InvalidModel("it is cut.")
        await seen(it, {"a": {1: "cut"}})
        status = it.catalog.entry("a").status(1)
        assert (status.state, status.error) == ("AVAILABLE", None)
        assert status.update_error == "it is cut."
        await it.ask("a")
        assert len(it.loader.opened) == 2


async def test_touched_files_reload_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def prepare(files: Any, *_: Any, **__: Any) -> Prepared:
        made = prepared(files)
        same: Compiled = replace(
            made.compiled, artifact=prepared(replace(files, path="a")).compiled.artifact
        )
        return replace(made, compiled=same)

    loader = FakeLoader()
    monkeypatch.setattr(loader, "prepare", prepare)

    async with shelf(loader) as it:
        await it.load("a")
        instance = it.catalog.entry("a").versions[1].instance
        await seen(it, {"a": {1: "touched"}})
        assert it.catalog.entry("a").versions[1].instance is instance
        assert len(loader.opened) == 1
