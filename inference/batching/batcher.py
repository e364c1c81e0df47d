"""Batching of a model's calls: take a token, collect a batch, run it in a thread."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from inference.batching.admission import AdmissionController, ServiceTime
from inference.batching.deadlines import Deadlines
from inference.batching.queue import BatchQueue, join, split
from inference.errors import DeadlineExceeded, Unavailable
from inference.system.priority import lower_priority
from inference.types import QueueStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from anyio.abc import TaskGroup, TaskStatus

    from inference.batching.call import Call
    from inference.limits import Batching
    from inference.runtime.opening import Loaded
    from inference.runtime.servable import Servable
    from inference.types import Array

UNLOADING = "The model is being unloaded; retry soon."

log = structlog.get_logger("tandem.models")


class Batcher:
    """Runner of a model's calls, on the event loop's thread and while `serve` runs.

    A runner takes a token first and collects the waiting calls after: no delay is added
    to an idle model, and while TensorFlow is busy the next batch grows by itself. A
    token is released when its thread has ended, even if no caller waits any more.
    """

    def __init__(self, loaded: Loaded) -> None:
        self._servable = loaded.servable
        self._plans = loaded.plans
        self._tokens = loaded.concurrency
        self._limiter = anyio.CapacityLimiter(self._tokens)
        # Tokens are taken from `_limiter`; anyio's default limiter would add a bound.
        self._threads = anyio.CapacityLimiter(math.inf)
        self._queue = BatchQueue(loaded.plans)
        self._deadlines = Deadlines()
        self._service_time = ServiceTime()
        self._admission = AdmissionController(
            max_queue=loaded.limits.max_queue, service_time=self._service_time
        )
        self._runners = 0
        self._busy = 0
        self._reserved = 0
        self._running: dict[Call, None] = {}
        # Created by a runner that holds back: few do, and each call would set it twice.
        self._queue_changed: anyio.Event | None = None
        self._sooner = anyio.Event()
        self._tasks: TaskGroup | None = None

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Run until cancelled; then fail the waiting calls and wait for the threads."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            task_status.started()

            try:
                await self._expire()
            finally:
                # Before the task group waits for the last thread.
                self._tasks = None
                self._drop(self._queue.take_all())

    @property
    def tokens(self) -> int:
        """The number of calls that run at a time."""
        return self._tokens

    def resize(self, tokens: int) -> None:
        """Run `tokens` calls at a time; in-flight calls complete."""
        self._tokens = tokens
        self._limiter.total_tokens = tokens

        if self._tasks is not None:
            for _ in range(min(tokens - self._runners, len(self._queue))):
                self._grow(self._tasks)

    def stats(self) -> QueueStats:
        return QueueStats(
            running=len(self._running),
            waiting=len(self._queue),
            orphans=sum(call.abandoned for call in self._running),
            tokens=self._limiter.borrowed_tokens,
        )

    def check(self, seconds: float) -> None:
        """Raise `Overloaded` if a call with `seconds` left would be refused."""
        idle = self._tokens - self._busy
        waiting = len(self._queue) + self._reserved
        self._admission.check(waiting, max(0, idle), seconds)

    @contextmanager
    def reserve(self, seconds: float) -> Iterator[None]:
        """Reserve a place in the queue for a call that is submitted after the block.

        Raises `Overloaded` as `check` does.
        """
        self.check(seconds)
        self._reserved += 1

        try:
            yield
        finally:
            self._reserved -= 1

    async def submit(self, call: Call) -> Mapping[str, Array]:
        """Run `call`; return its outputs.

        Raises `Overloaded`, `DeadlineExceeded`, `Unavailable` and what `Servable.run`
        raises. On cancellation a waiting call leaves the queue; a running one goes on.
        """
        if self._tasks is None:
            raise Unavailable(UNLOADING)

        self.check(call.deadline - call.arrived)
        self._queue.add(call)
        self._grow(self._tasks)

        if self._deadlines.add(call):
            self._sooner.set()

        try:
            return await call.result()
        finally:
            self._leave(call)

    def _leave(self, call: Call) -> None:
        call.abandoned = True
        self._deadlines.discard(call)
        self._queue.discard(call)
        if self._queue_changed is not None:
            self._signal(self._queue_changed)

    def _grow(self, tasks: TaskGroup) -> None:
        if self._queue_changed is not None:
            self._signal(self._queue_changed)

        if self._runners < self._tokens:
            self._runners += 1
            tasks.start_soon(self._run_all)

    def _signal(self, changed: anyio.Event) -> None:
        self._queue_changed = None
        changed.set()

    async def _run_all(self) -> None:
        try:
            await self._limiter.acquire_on_behalf_of(token := object())

            try:
                await self._run_waiting()
            finally:
                self._limiter.release_on_behalf_of(token)
        finally:
            self._runners -= 1

    async def _run_waiting(self) -> None:
        while len(self._queue) and self._runners <= self._tokens:
            self._expire_now()

            if batch := self._queue.take(anyio.current_time()):
                await self._run(batch)
            elif len(self._queue):
                await self._hold_back()

    async def _hold_back(self) -> None:
        """Wait for more rows, as `max_delay_seconds` asks of an idle model's calls."""
        # One event for all runners: a batch that fills up must wake each of them.
        if self._queue_changed is None:
            self._queue_changed = anyio.Event()

        with anyio.CancelScope(deadline=self._queue.held_until()):
            await self._queue_changed.wait()

    async def _run(self, batch: list[Call]) -> None:
        self._running.update(dict.fromkeys(batch))
        self._busy += 1

        try:
            await self._attempt(batch)
        finally:
            self._busy -= 1
            self._drop([call for call in batch if call in self._running])

    async def _attempt(self, batch: list[Call]) -> None:
        try:
            results = await self._in_thread(batch)
        except Exception as exc:
            await self._isolate(batch, exc)
        else:
            for call, result in zip(batch, results, strict=True):
                del self._running[call]
                call.succeed(result)

    async def _isolate(self, batch: list[Call], error: Exception) -> None:
        """Run each call of a failed batch alone, so that one bad call fails alone."""
        if len(batch) == 1:
            del self._running[batch[0]]
            batch[0].fail(error)
            return

        log.debug("batch failed, run one by one", calls=len(batch), reason=str(error))

        for call in batch:
            self._expire_now()

            if call.abandoned:
                del self._running[call]
            else:
                await self._attempt([call])

    async def _in_thread(self, batch: list[Call]) -> list[Mapping[str, Array]]:
        started = time.perf_counter()

        try:
            # Never abandoned on cancellation: the token lasts as long as the thread.
            return await anyio.to_thread.run_sync(
                run_batch,
                self._servable,
                batch,
                self._plans[batch[0].signature],
                limiter=self._threads,
            )
        finally:
            self._service_time.add(
                time.perf_counter() - started, calls=len(batch), concurrent=self._busy
            )

    async def _expire(self) -> None:
        while True:
            self._sooner = anyio.Event()
            self._expire_now()
            earliest = self._deadlines.earliest()

            with anyio.CancelScope(deadline=math.inf if earliest is None else earliest):
                await self._sooner.wait()

    def _expire_now(self) -> None:
        for call in self._deadlines.expire(anyio.current_time()):
            call.fail(
                DeadlineExceeded(_timeout_text(call, waiting=call in self._queue))
            )
            call.abandoned = True
            self._queue.discard(call)

    def _drop(self, calls: Iterable[Call]) -> None:
        for call in calls:
            self._running.pop(call, None)
            call.fail(Unavailable(UNLOADING))


def run_batch(
    servable: Servable, calls: Sequence[Call], plan: Batching
) -> list[Mapping[str, Array]]:
    """Run all `calls`, which are of one group, at once; return each one's outputs.

    Blocks. Raises what `Servable.run` raises.
    """
    lower_priority()
    first = calls[0]
    alone = len(calls) == 1 and plan.padded(first.rows) == first.rows

    if first.group is None or alone:
        return [servable.run(first.signature, first.inputs, first.outputs)]

    inputs = join(calls, plan)
    outputs = servable.run(first.signature, inputs, first.outputs)
    return split(outputs, calls, plan)


def _timeout_text(call: Call, *, waiting: bool) -> str:
    where = "it was still in the queue" if waiting else "the model was still running"
    # Rounded: the difference of two clock readings has more digits than the timeout.
    seconds = round(call.deadline - call.arrived, 6)
    return f"The request's time of {seconds:g} s is over: {where}."
