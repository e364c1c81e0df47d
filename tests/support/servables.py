"""A servable of NumPy whose runs are recorded and gated, and batchers that serve it."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import numpy as np

from inference.batching.batcher import Batcher
from inference.batching.call import Call
from inference.errors import ExecutionFailed, InputMismatch
from inference.limits import Limits
from inference.runtime.opening import Loaded
from inference.types import QueueStats
from tests.support.specs import signature, spec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from inference.runtime.servable import Servable
    from inference.types import Array, Signature

ROWS = spec("x", shape=(None, None))
SWITCH = spec("on", "bool", (), default=np.array(False))

DOUBLE = replace(signature(ROWS, SWITCH), name="double", batchable=True)
OTHER = replace(signature(ROWS), name="other", batchable=True)
ALONE = replace(signature(ROWS), name="alone")
SHORT = replace(signature(ROWS), name="short", batchable=True)
SIGNATURES = {each.name: each for each in (DOUBLE, OTHER, ALONE, SHORT)}

MANY = 10_000


class Gate:
    """Holds threads until they are let through, in the order in which they came.

    `began` is how many came, `inside` how many are held, `most` at a time.
    """

    def __init__(self, *, open: bool = False) -> None:
        self.began = 0
        self.inside = 0
        self.most = 0
        self._allowed = MANY if open else 0
        self._turn = threading.Condition()
        self._entered = anyio.Event()

    def let_through(self, runs: int = MANY) -> None:
        with self._turn:
            self._allowed += runs
            self._turn.notify_all()

    async def until_ran(self, runs: int) -> None:
        """Return when that many have begun."""
        while self.began < runs:
            await self._entered.wait()

    def pass_through(self, begin: Callable[[], None] = lambda: None) -> None:
        """Called in a thread; `begin` is on the loop's, in the order of the turns."""
        number = anyio.from_thread.run_sync(self._begin, begin)

        with self._turn:
            self._turn.wait_for(lambda: number < self._allowed)
            self.inside -= 1

    def _begin(self, begin: Callable[[], None]) -> int:
        begin()

        with self._turn:
            self.inside += 1
            self.most = max(self.most, self.inside)

        number, self.began = self.began, self.began + 1
        entered, self._entered = self._entered, anyio.Event()
        entered.set()
        return number


class Gated(Gate):
    """Doubles `x`, when it is let through; refuses numbers below zero.

    `ran` has the numbers in the first column of `x`, run by run in the order in which
    they began. The signature "short" loses its last row, but for a run of one row.
    """

    def __init__(self, *, open: bool = False) -> None:
        super().__init__(open=open)
        self.ran: list[list[float]] = []

    def run(
        self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str]
    ) -> dict[str, Array]:
        x = inputs["x"]
        self.pass_through(lambda: self.ran.append(x[:, 0].tolist()))
        return {name: _answer(signature, x) for name in outputs}


def _answer(signature: str, x: Array) -> Array:
    if np.any(x < 0):
        raise InputMismatch(f"{x.min():g} is below zero")

    if np.any(x == 666):
        raise ExecutionFailed("the devil is in it")

    return x[:-1] if signature == "short" and len(x) > 1 else 2 * x


def loaded(servable: Gated, limits: Limits) -> Loaded:
    return Loaded(
        servable=cast("Servable", servable),
        limits=limits,
        plans=limits.plans(SIGNATURES),
        concurrency=limits.concurrency or 1,
        seconds=0.0,
    )


@asynccontextmanager
async def serving(
    servable: Gated, limits: Limits | None = None
) -> AsyncIterator[Batcher]:
    """A batcher that serves `servable`, and has nothing left at the end."""
    batcher = Batcher(loaded(servable, limits or Limits()))

    async with anyio.create_task_group() as tasks:
        await tasks.start(batcher.serve)

        try:
            yield batcher
            servable.let_through()
            await settled(batcher)
        finally:
            servable.let_through()
            tasks.cancel_scope.cancel()

    assert_nothing_left(batcher)


async def settled(batcher: Batcher) -> None:
    """Return when nothing is left: a thread's end is heard a moment after it."""
    with anyio.fail_after(60):
        while batcher.stats() != QueueStats():
            await anyio.lowlevel.checkpoint()

    assert_nothing_left(batcher)


def assert_nothing_left(batcher: Batcher) -> None:
    assert batcher.stats() == QueueStats()
    assert (len(batcher._queue), batcher._busy, batcher._running) == (0, 0, {})


def call(
    *numbers: float,
    of: Signature = DOUBLE,
    width: int = 1,
    outputs: tuple[str, ...] = ("y",),
    seconds: float = 3600.0,
    **optional: Any,
) -> Call:
    """A row of `width` times the same number for each of `numbers`, that came now."""
    x = np.repeat(np.array(numbers, "float32")[:, None], width, axis=1)
    now = anyio.current_time()
    inputs = {"x": x, **{name: np.array(value) for name, value in optional.items()}}
    return Call(of, inputs, outputs, arrived=now, deadline=now + seconds)


class Ended:
    """The outcomes of calls submitted by tasks of their own: values or errors."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._outcomes: dict[Call, list[float] | Exception] = {}
        self.order: list[Call] = []

    def __getitem__(self, call: Call) -> list[float] | Exception:
        return self._outcomes[call]

    def __contains__(self, call: Call) -> bool:
        return call in self._outcomes

    def of(self, calls: Iterable[Call]) -> list[list[float] | Exception]:
        return [self[call] for call in calls]

    async def submit(self, call: Call, scope: anyio.CancelScope | None = None) -> None:
        with scope or anyio.CancelScope():
            try:
                outputs = await self._batcher.submit(call)
                self._outcomes[call] = outputs["y"][:, 0].tolist()
            except Exception as exc:
                self._outcomes[call] = exc

            self.order.append(call)
