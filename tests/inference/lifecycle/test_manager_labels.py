"""Labels from the sidecar and set at run time, all or none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from inference.errors import (
    InvalidModel,
    InvalidSidecar,
    LoadFailed,
    VersionNotFound,
)
from inference.repository.sidecar import VersionsTable
from inference.types import ModelId
from tests.support.shelf import FakeLoader, seen, shelf

if TYPE_CHECKING:
    from tests.support.shelf import Shelf

THREE = {"a": {1: "a", 2: "b", 3: "c"}}
ALL = VersionsTable(all=True)


async def answer(it: Shelf, label: str) -> str:
    return str((await it.ask("a", label=label)).model)


async def test_sidecar_label_moves_once_its_version_answers() -> None:
    async with shelf() as it:
        await seen(it, {"a": {1: "a"}}, labels={"stable": 1})
        assert await answer(it, "stable") == "a/1"

        it.loader.compiling = anyio.Event()
        it.look({"a": {1: "a", 2: "b"}}, labels={"stable": 2})
        await it.calm()
        assert await answer(it, "stable") == "a/1"

        it.loader.compiling.set()
        await it.manager.wait_settled()
        await it.calm()
        assert await answer(it, "stable") == "a/2"
        assert it.states() == {"a/2": "AVAILABLE"}


async def test_label_keeps_its_version_if_the_new_one_fails() -> None:
    """Even though a third version answers, which alone the policy wants."""
    loader = FakeLoader(broken={ModelId("a", 2): InvalidModel("it is cut.")})

    async with shelf(loader) as it:
        await seen(it, {"a": {1: "a"}}, labels={"stable": 1})
        await seen(it, THREE, labels={"stable": 2})
        assert it.states() == {"a/1": "AVAILABLE", "a/2": "END", "a/3": "AVAILABLE"}
        assert await answer(it, "stable") == "a/1"
        assert str((await it.ask("a")).model) == "a/3"


async def test_labelled_old_version_replaces_no_newer_one() -> None:
    """The newest fails: the version that answered without a label still does."""
    loader = FakeLoader(broken={ModelId("a", 3): InvalidModel("it is cut.")})

    async with shelf(loader) as it:
        await seen(it, {"a": {1: "a", 2: "b"}}, labels={"stable": 1})
        await seen(it, THREE, labels={"stable": 1})
        assert str((await it.ask("a")).model) == "a/2"
        await it.manager.label(it.catalog.entry("a"), {"old": 1})
        await it.calm()
        assert str((await it.ask("a")).model) == "a/2"


async def test_a_label_set_at_run_time_loads_its_version_first() -> None:
    async with shelf() as it:
        await seen(it, THREE)
        assert it.in_memory() == ["a/3"]
        entry = it.catalog.entry("a")
        it.loader.compiling = anyio.Event()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.manager.label, entry, {"stable": 1})
            await anyio.wait_all_tasks_blocked()

            with pytest.raises(VersionNotFound, match="no label 'stable'"):
                await answer(it, "stable")

            it.loader.compiling.set()

        assert await answer(it, "stable") == "a/1"
        assert entry.status(1).labels == ("stable",)

        await seen(it, THREE)
        assert it.in_memory() == ["a/1", "a/3"]
        assert await answer(it, "stable") == "a/1"


async def test_a_label_set_at_run_time_overrides_the_sidecar() -> None:
    async with shelf() as it:
        await seen(it, THREE, labels={"stable": 1}, table=ALL)
        await it.manager.label(it.catalog.entry("a"), {"stable": 2})
        await seen(it, THREE, labels={"stable": 3}, table=ALL)
        assert await answer(it, "stable") == "a/2"

        await it.manager.label(it.catalog.entry("a"), {"stable": None})

        with pytest.raises(VersionNotFound, match="no label"):
            await answer(it, "stable")


async def test_version_without_its_label_is_unloaded() -> None:
    async with shelf() as it:
        await seen(it, THREE, labels={"stable": 1})
        await it.manager.label(it.catalog.entry("a"), {"stable": 3})
        await it.calm()
        assert it.states() == {"a/3": "AVAILABLE"}


async def test_labels_move_all_or_none() -> None:
    """When the last one fails, the others haven't moved, and no version is unloaded."""
    loader = FakeLoader(broken={ModelId("a", 2): InvalidModel("it is cut.")})

    async with shelf(loader) as it:
        await seen(it, {"a": {1: "a", 2: "b", 3: "c", 4: "d"}}, labels={"stable": 3})
        assert it.in_memory() == ["a/3", "a/4"]
        loader.compiling = anyio.Event()
        entry, errors = it.catalog.entry("a"), []

        async def label() -> None:
            with pytest.raises(LoadFailed, match="it is cut") as raised:
                await it.manager.label(entry, {"stable": 1, "canary": 2})

            errors.append(raised.value)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(label)
            await anyio.wait_all_tasks_blocked()
            assert await answer(it, "stable") == "a/3"
            loader.compiling.set()

        await it.calm()
        assert errors
        assert entry.labels == {"stable": 3}
        assert it.in_memory() == ["a/3", "a/4"]
        assert await answer(it, "stable") == "a/3"


async def test_label_to_a_missing_version_is_refused() -> None:
    async with shelf() as it:
        await seen(it, THREE)

        with pytest.raises(VersionNotFound, match="no version 9 .* it has: 1, 2, 3"):
            await it.manager.label(it.catalog.entry("a"), {"stable": 1, "canary": 9})

        assert it.states() == {"a/3": "AVAILABLE"}


async def test_version_removed_while_it_gets_a_label() -> None:
    async with shelf() as it:
        await seen(it, THREE)
        it.loader.compiling = anyio.Event()
        entry, errors = it.catalog.entry("a"), []

        async def label() -> None:
            try:
                await it.manager.label(entry, {"stable": 1, "canary": 2})
            except Exception as exc:
                errors.append(str(exc))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(label)
            await anyio.wait_all_tasks_blocked()
            it.look({"a": {1: "a", 3: "c"}}, now=True)
            it.loader.compiling.set()

        assert len(errors) == 1
        assert "2" in errors[0]
        await it.until(lambda: it.states() == {"a/3": "AVAILABLE"})


async def test_cancelled_labelling_changes_nothing() -> None:
    async with shelf() as it:
        await seen(it, THREE)
        it.loader.compiling = anyio.Event()
        entry = it.catalog.entry("a")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.manager.label, entry, {"stable": 1})
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

        it.loader.compiling.set()
        await it.manager.wait_settled()
        await it.calm()
        assert (entry.labels, it.states()) == ({}, {"a/3": "AVAILABLE"})


async def test_refused_sidecar_removes_nothing() -> None:
    """Labels, versions and pins stay until the sidecar is valid."""
    async with shelf() as it:
        await seen(it, THREE, labels={"stable": 1}, table=ALL, pinned=["a"])
        it.loader.broken[ModelId("a", 3)] = InvalidSidecar("no such signature.")
        changed = {"a": {1: "a2", 2: "b2", 3: "c2"}}

        for now in (False, True):
            await seen(it, changed, labels={"new": 3}, now=now)
            assert it.in_memory() == ["a/1", "a/2", "a/3"]
            assert it.catalog.entry("a").labels == {"stable": 1}
            assert it.catalog.entry("a").status(3).pinned

        it.loader.broken.clear()
        await seen(it, {"a": {1: "a3", 2: "b3", 3: "c3"}}, labels={"new": 3})
        assert it.in_memory() == ["a/3"]
        assert await answer(it, "new") == "a/3"
        assert not it.catalog.entry("a").status(3).pinned


async def test_failing_version_does_not_block_a_sidecar() -> None:
    async with shelf() as it:
        await seen(it, THREE, labels={"stable": 1}, table=ALL)
        it.loader.broken[ModelId("a", 2)] = InvalidModel("it is cut.")
        changed = {"a": {1: "a", 2: "cut", 3: "c"}}
        await seen(it, changed, labels={"stable": 3}, table=ALL)
        assert await answer(it, "stable") == "a/3"


async def test_version_sidecar_affects_that_version_alone() -> None:
    async with shelf() as it:
        model = Path("model.toml")
        await seen(it, THREE, labels={"stable": 1}, table=ALL, source=model)
        it.loader.broken[ModelId("a", 2)] = InvalidSidecar("no such signature.")
        changed = {"a": {1: "a", 2: "b2", 3: "c"}}
        await seen(it, changed, labels={"stable": 3}, table=ALL, source=model)
        assert await answer(it, "stable") == "a/3"
