"""Versions removed from disk or from the policy: unloaded, or left as they are."""

from __future__ import annotations

import anyio
import pytest

from inference.errors import ModelNotFound
from inference.lifecycle.manager import EMPTY
from inference.repository.sidecar import VersionsTable
from inference.types import ModelSpec
from tests.support.shelf import FakeLoader, seen, shelf


async def test_version_missing_twice_is_unloaded() -> None:
    async with shelf() as it:
        await it.load("a", "b")
        await seen(it, {"b": {1: "a"}})
        assert it.in_memory() == ["a/1", "b/1"]
        await seen(it, {"b": {1: "a"}})
        assert it.states() == {"b/1": "AVAILABLE"}

        with pytest.raises(ModelNotFound):
            await it.ask("a")


async def test_rescan_unloads_a_missing_version_at_once() -> None:
    async with shelf() as it:
        await it.load("a", "b")
        await seen(it, {"b": {1: "a"}}, now=True)
        assert it.states() == {"b/1": "AVAILABLE"}


async def test_uncertain_version_stays() -> None:
    async with shelf() as it:
        await it.load("a", "b")

        for _ in range(3):
            await seen(it, {"b": {1: "a"}}, uncertain=["a"], now=True)

        assert it.in_memory() == ["a/1", "b/1"]


async def test_empty_repository_unloads_nothing() -> None:
    async with shelf() as it:
        await it.load("a")

        for _ in range(3):
            await seen(it, {}, now=True)
            assert it.in_memory() == ["a/1"]
            assert it.manager.problems == [EMPTY]

        await seen(it, {"a": {1: "a"}})
        assert it.manager.problems == []


async def test_requests_of_a_removed_model_complete() -> None:
    async with shelf(FakeLoader(gated=True)) as it:
        await it.load("a", "b")
        servable, answers = it.loader.latest("a"), []

        async def ask() -> None:
            answers.append(str((await it.ask("a")).model))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await servable.until_ran(1)
            await seen(it, {"b": {1: "a"}}, now=True)
            assert it.states() == {"a/1": "UNLOADING", "b/1": "AVAILABLE"}
            servable.let_through()

        await it.calm()
        assert (answers, it.states()) == (["a/1"], {"b/1": "AVAILABLE"})


async def test_files_that_return_during_an_unload_are_loaded() -> None:
    async with shelf(FakeLoader(gated=True)) as it:
        await it.load("a", "b")
        servable = it.loader.latest("a")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.ask, "a")
            await servable.until_ran(1)
            await seen(it, {"b": {1: "a"}}, now=True)
            await seen(it, {"a": {1: "again"}, "b": {1: "a"}})
            assert it.states()["a/1"] == "UNLOADING"
            servable.let_through()

        await it.calm()
        assert it.states() == {"a/1": "AVAILABLE", "b/1": "AVAILABLE"}
        assert (servable.closed, it.loader.latest("a").closed) == (True, False)


@pytest.mark.parametrize(
    ("table", "served"),
    [
        (VersionsTable(latest=1), [3]),
        (VersionsTable(latest=2), [2, 3]),
        (VersionsTable(all=True), [1, 2, 3]),
        (VersionsTable(only=(1, 3, 9)), [1, 3]),
        (VersionsTable(only=(9,)), []),
    ],
)
async def test_policy_chooses_the_served_versions(
    table: VersionsTable, served: list[int]
) -> None:
    async with shelf() as it:
        await seen(it, {"a": {1: "a", 2: "b", 3: "c"}}, table=table)
        assert it.in_memory() == [f"a/{number}" for number in served]

        await seen(it, {"b": {1: "b"}}, now=True)

        with pytest.raises(ModelNotFound, match="the models are: b"):
            it.catalog.find(ModelSpec(name="a"))


async def test_changed_policy_takes_effect() -> None:
    async with shelf() as it:
        versions = {"a": {1: "a", 2: "b", 3: "c"}}

        for table, served in (
            (VersionsTable(latest=1), ["a/3"]),
            (VersionsTable(all=True), ["a/1", "a/2", "a/3"]),
            (VersionsTable(only=(2,)), ["a/2"]),
        ):
            await seen(it, versions, table=table)
            assert it.in_memory() == served
