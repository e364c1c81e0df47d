"""Thousands of calls of all kinds at once: each ends as it should, and none is left."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import numpy as np
import pytest

from inference.errors import DeadlineExceeded, InputMismatch, Overloaded
from inference.limits import Batching, Limits
from tests.support.servables import ALONE, DOUBLE, OTHER, Gated, call, serving

if TYPE_CHECKING:
    from inference.batching.batcher import Batcher
    from inference.batching.call import Call
    from inference.types import Array

CLIENTS = 48
CALLS_EACH = 80
HOUR = 3600.0


@dataclass(slots=True)
class Clients:
    """Send one call after the other, with random timeouts."""

    batcher: Batcher
    chance: random.Random
    outcomes: Counter[str] = field(default_factory=Counter)

    async def send(self) -> None:
        for _ in range(CALLS_EACH):
            leaves = self.chance.random() < 0.1
            each = self._call()
            outcome = await (self._leave(each) if leaves else self._ask(each))
            self.outcomes[outcome] += 1

    async def _leave(self, each: Call) -> str:
        outcome = "gone"

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pull_the_plug, tasks.cancel_scope)
            outcome = await self._ask(each)
            tasks.cancel_scope.cancel()

        return outcome

    async def _pull_the_plug(self, scope: anyio.CancelScope) -> None:
        for _ in range(self.chance.randrange(20)):
            await anyio.lowlevel.checkpoint()

        scope.cancel()

    async def _ask(self, each: Call) -> str:
        x = each.inputs["x"]

        try:
            outputs = await self.batcher.submit(each)
        except InputMismatch as exc:
            assert str(exc) == f"{x.min():g} is below zero"
            return "bad"
        except DeadlineExceeded:
            assert each.deadline < each.arrived + 1
            return "late"
        except Overloaded as exc:
            assert exc.retry_after >= 0.1
            return "refused"

        assert_doubled(x, outputs["y"])
        return "good"

    def _call(self) -> Call:
        rows = self.chance.choice([1, 1, 1, 2, 5, 20])
        numbers = [float(self.chance.randrange(10**6)) for _ in range(rows)]

        if self.chance.random() < 0.03:
            numbers[-1] = -numbers[-1] - 1

        return call(
            *numbers,
            of=self.chance.choice([DOUBLE, DOUBLE, OTHER, ALONE]),
            width=self.chance.choice([1, 1, 2]),
            seconds=self.chance.choice([HOUR] * 8 + [0, 0.005 * self.chance.random()]),
        )


def assert_doubled(x: Array, y: Array) -> None:
    assert x.min() >= 0
    np.testing.assert_array_equal(y, 2 * x)


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(Limits(concurrency=1), id="one token"),
        pytest.param(
            Limits(
                concurrency=3,
                max_queue=20,
                batching=Batching(
                    max_rows=16, max_delay_seconds=0.001, allowed_rows=(4, 16)
                ),
            ),
            id="three tokens, delay, padding, refusals",
        ),
    ],
)
async def test_random_events_keep_the_batcher_consistent(limits: Limits) -> None:
    async with serving(Gated(open=True), limits) as batcher:
        clients = Clients(batcher, random.Random(5))

        async with anyio.create_task_group() as tasks:
            for _ in range(CLIENTS):
                tasks.start_soon(clients.send)

        assert clients.outcomes.total() == CLIENTS * CALLS_EACH
        assert clients.outcomes["good"] > CLIENTS
        assert min(clients.outcomes[kind] for kind in ("bad", "late", "gone")) > 0
