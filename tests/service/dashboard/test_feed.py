"""The feed over a fake engine; the test takes the readings."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from inference import ModelState
from service.dashboard.feed import SERIES, Feed
from service.dashboard.overview import State, changes
from service.dashboard.readings import Reading
from tests.support.fakes import FakeEngine, FakeModel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


class Clock:
    """The time, which tests set, and the number of reads."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.now, self.reads = engine, 1000.0, 0

    def time(self) -> float:
        return self.now

    async def read(self) -> State:
        self.reads += 1
        return State(
            models=self.engine.models(),
            engine=self.engine.overview(),
            reading=Reading(at=self.now),
        )


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(FakeModel(), FakeModel(name="other"))


@pytest.fixture
def clock(engine: FakeEngine) -> Clock:
    return Clock(engine)


async def event(events: AsyncGenerator[bytes]) -> tuple[str, dict[str, Any]]:
    name, data = (await anext(events)).decode().strip().split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_only_models_that_changed_are_sent(
    clock: Clock, engine: FakeEngine
) -> None:
    feed = Feed(clock.read, clock.time)
    async with aclosing(feed.follow()) as events:
        name, whole = await event(events)
        assert (name, len(whole["models"])) == ("overview", 2)

        engine.all_models[0].state = ModelState.END
        engine.all_models[0].error = "it is broken"
        await feed.take()
        name, change = await event(events)

    assert name == "change"
    [half] = change["models"]
    assert half["versions"][0]["error"] == "it is broken"
    assert change["removed"] == []


async def test_removed_models_are_named(clock: Clock, engine: FakeEngine) -> None:
    feed = Feed(clock.read, clock.time)
    async with aclosing(feed.follow()) as events:
        await event(events)
        del engine.all_models[0]
        await feed.take()
        _, change = await event(events)

    assert (change["models"], change["removed"]) == ([], ["half"])


async def test_all_listeners_share_one_reading(clock: Clock) -> None:
    feed = Feed(clock.read, clock.time)
    async with aclosing(feed.follow()) as one, aclosing(feed.follow()) as other:
        await event(one)
        await event(other)
        assert clock.reads == 1

        await feed.take()
        assert await anext(one) is await anext(other)


async def test_a_slow_listener_gets_the_whole_again(clock: Clock) -> None:
    feed = Feed(clock.read, clock.time)
    async with aclosing(feed.follow()) as events:
        await event(events)
        await feed.take()
        await feed.take()
        name, _ = await event(events)
        assert name == "overview"

        await feed.take()
        name, _ = await event(events)
        assert name == "change"


async def test_history_has_a_point_each_five_seconds(clock: Clock) -> None:
    feed = Feed(clock.read, clock.time)
    for _ in range(12):
        await feed.take()
        clock.now += 1

    history = json.loads(await feed.whole())["history"]
    assert len(history) == 3
    assert history[0].keys() == {"at", "memory_bytes", *SERIES}


async def test_history_ends_after_a_quarter_of_an_hour(clock: Clock) -> None:
    feed = Feed(clock.read, clock.time)
    for _ in range(200):
        await feed.take()
        clock.now += 5

    assert len(json.loads(await feed.whole())["history"]) == 180


async def test_a_reading_serves_all_who_ask_within_a_second(clock: Clock) -> None:
    feed = Feed(clock.read, clock.time)
    first = await feed.whole()
    assert await feed.whole() == first
    assert clock.reads == 1

    clock.now += 1.5
    await feed.whole()
    assert clock.reads == 2


def test_equal_documents_have_no_changed_models() -> None:
    model = {"name": "half", "versions": [{"version": 1}]}
    document: dict[str, Any] = {"server": {}, "models": [model], "jobs": None}

    assert changes(document, document)["models"] == []
    assert changes({**document, "models": []}, document)["models"] == [model]
