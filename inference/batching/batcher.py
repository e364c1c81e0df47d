"""Batching of a model's calls: collect those that wait, run them in a thread."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import anyio.to_thread
import structlog

from inference.batching import clock
from inference.batching.admission import AdmissionController, ServiceTime
from inference.batching.alarm import Alarm
from inference.batching.deadlines import Deadlines
from inference.batching.queue import BatchQueue
from inference.batching.runner import Runner
from inference.batching.statistics import CallStatistics
from inference.errors import DeadlineExceeded, Unavailable, first_line
from inference.types import QueueStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from anyio.abc import TaskGroup, TaskStatus

    from inference.batching.call import Call
    from inference.batching.runner import Ran
    from inference.runtime.opening import Loaded
    from inference.types import Array

UNLOADING = "The model is being unloaded; retry soon."
IDLE_SECONDS = 5.0
"""A thread that had nothing to run for as long ends."""

MAX_TURNS = 8
"""Turns of the loop that a batch may be collected for while each brings more calls."""

log = structlog.get_logger("tandem.models")


class Batcher:
    """Runner of a model's calls, on the event loop's thread and while `serve` runs.

    Calls are collected when a thread is free, not before: no delay is added to an idle
    model, and while TensorFlow is busy the next batch grows by itself. Each thread
    holds a token of the model's limiter until it has ended, even if no caller waits any
    more.
    """

    # All steps but the threads are plain calls on the loop: a task, an event or a timer
    # for each request or batch costs more than a small model's run.

    def __init__(self, loaded: Loaded) -> None:
        self._servable = loaded.servable
        self._plans = loaded.plans
        self._tokens = loaded.concurrency
        self._limiter = anyio.CapacityLimiter(self._tokens)
        self._queue = BatchQueue(loaded.plans)
        self._deadlines = Deadlines()
        self.statistics = CallStatistics()
        self._own_queue = loaded.limits.own_queue
        self._service_time = ServiceTime()
        self._admission = AdmissionController(
            max_queue=loaded.limits.max_queue, service_time=self._service_time
        )
        self._runners: set[Runner] = set()
        self._idle: list[Runner] = []
        self._reserved = 0
        self._running: dict[Call, None] = {}
        self._tasks: TaskGroup | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # Not that of the request which happens to wake the batcher.
        self._context = copy_context()
        self._wanted: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._expiring = Alarm(self._ring)
        self._holding = Alarm(self._collect_soon)
        self._sparing = Alarm(self._spare)

    async def serve(self, *, task_status: TaskStatus[None]) -> None:
        """Run until cancelled; then fail the waiting calls and wait for the threads."""
        async with anyio.create_task_group() as tasks:
            self._loop, self._tasks = asyncio.get_running_loop(), tasks
            self._context = copy_context()
            self._wanted = self._loop.create_future()
            task_status.started()

            try:
                await self._collect_all(self._wanted)
            finally:
                # Before the task group waits for the last thread.
                self._tasks = None
                self._stop_alarms()
                self._drop(self._queue.take_all())
                self._dismiss_idle(keep=0)

    @property
    def tokens(self) -> int:
        """The number of calls that run at a time."""
        return self._tokens

    def resize(self, tokens: int) -> None:
        """Run `tokens` calls at a time; in-flight calls complete."""
        self._tokens = tokens
        self._limiter.total_tokens = tokens
        self._dismiss_idle(keep=max(0, tokens - self._busy))
        self._hold_back()
        # Not at once: threads would have the context of the operator's request.
        self._collect_soon()

    def limit_queue(self, max_queue: int) -> None:
        """Let `max_queue` requests wait, unless the model has a limit of its own."""
        if not self._own_queue:
            self._admission.max_queue = max_queue

    def stats(self) -> QueueStats:
        return QueueStats(
            running=len(self._running),
            waiting=len(self._queue),
            orphans=sum(call.abandoned for call in self._running),
            # One is kept for the batch that is being collected or held back.
            tokens=self._busy
            + bool(self._queue.calls and (self._collecting or self._holding.pending)),
        )

    def check(self, seconds: float) -> None:
        """Raise `Overloaded` if a call with `seconds` left would be refused."""
        waiting = len(self._queue.calls) + self._reserved
        idle = self._tokens - len(self._runners) + len(self._idle)

        wait = waiting * self._service_time.seconds_per_call

        # Nearly always so, and a call for each would cost 1 µs a request.
        if waiting < idle or (waiting < self._admission.max_queue and wait <= seconds):
            return

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
        """Run `call` if it is admitted; return its outputs.

        Raises `Overloaded`, `DeadlineExceeded`, `Unavailable` and what `Servable.run`
        raises. On cancellation a waiting call leaves the queue; a running one goes on.
        """
        # A client that has gone already takes no part in a batch.
        await anyio.lowlevel.checkpoint_if_cancelled()
        self.check(call.deadline - call.arrived)
        return await self.run(call)

    async def run(self, call: Call) -> Mapping[str, Array]:
        """Run a `call` that `check` has let in a moment ago, as `submit` does."""
        self.start(call)

        try:
            return await call.result()
        except Exception:
            self.statistics.fail(clock.now() - call.arrived)
            raise
        finally:
            self.leave(call)

    def start(self, call: Call) -> None:
        """Queue a `call` that `check` has let in a moment ago.

        Whoever starts a call calls `leave` once nobody waits for it. Raises
        `Unavailable`.
        """
        if self._tasks is None:
            raise Unavailable(UNLOADING)

        self._queue.add(call)

        # Nearly all are later than those before them.
        if call.deadline < self._deadlines.earliest:
            self._deadlines.add(call.deadline)
            self._set_alarm()

        self._collect_soon()

    def leave(self, call: Call) -> None:
        """Note that nobody waits for `call` any more, be it ended or not.

        A waiting call leaves the queue; a running one goes on.
        """
        call.abandoned = True
        if not call.ended:
            self._queue.discard(call)

        if self._holding.pending:
            self._hold_back()

    @property
    def _busy(self) -> int:
        """The number of threads that run a batch."""
        return len(self._runners) - len(self._idle)

    @property
    def _has_room(self) -> bool:
        """True if one more batch may run."""
        return bool(self._idle) or len(self._runners) < self._tokens

    @property
    def _collecting(self) -> bool:
        """True if a batch is about to be handed out."""
        return self._wanted is not None and self._wanted.done() and self._has_room

    def _collect_soon(self) -> None:
        if self._wanted is not None and not self._wanted.done() and self._has_room:
            self._wanted.set_result(None)

    async def _collect_all(self, wanted: asyncio.Future[None]) -> None:
        """Hand out batches when they are wanted. Raises what is unforeseen."""
        while True:
            await wanted
            await self._collect()
            if self._error is not None:
                raise self._error

            self._wanted = wanted = asyncio.get_running_loop().create_future()
            self._hand_out()

    async def _collect(self) -> None:
        """Wait while each turn of the loop brings further calls."""
        # A batch of one costs nearly as much as one of all of them.
        waiting = 0

        for _ in range(MAX_TURNS):
            if len(self._queue.calls) <= waiting:
                return

            waiting = len(self._queue.calls)
            await asyncio.sleep(0)

    def _break(self, error: Exception) -> None:
        """Let `serve` raise an unforeseen error."""
        self._error = self._error or error
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)

    def _hand_out(self) -> None:
        """Hand batches to free threads, as long as calls wait that may run."""
        self._expire()

        while self._has_room:
            batch = self._queue.take(clock.now())
            if not batch or self._tasks is None:
                break

            self._start(self._idle.pop() if self._idle else self._hire(), batch)

        self._hold_back()

    def _hire(self) -> Runner:
        assert self._tasks is not None
        runner = Runner(self._servable)
        self._runners.add(runner)
        self._tasks.start_soon(self._employ, runner)
        return runner

    async def _employ(self, runner: Runner) -> None:
        assert self._loop is not None
        report = partial(self._report, self._loop, runner)

        try:
            # Never abandoned on cancellation: the token lasts as long as the thread.
            await anyio.to_thread.run_sync(runner.work, report, limiter=self._limiter)
        except Exception as exc:
            log.exception("a model's thread failed", calls=len(runner.unended))
            self._drop(runner.unended, f"The model's thread failed: {first_line(exc)}")
        finally:
            self._runners.discard(runner)
            self._drop(runner.unended)
            self._collect_soon()

    def _start(self, runner: Runner, batch: list[Call]) -> None:
        self._running.update(dict.fromkeys(batch))
        runner.started = time.perf_counter()
        runner.handed_at = clock.now()
        for call in batch:
            call.started = runner.started

        runner.hand(batch, self._plans[batch[0].signature])

    def _report(
        self,
        loop: asyncio.AbstractEventLoop,
        runner: Runner,
        results: Ran | Exception,
    ) -> None:
        """Pass a batch's results to the loop; to be called in the runner's thread."""
        loop.call_soon_threadsafe(self._finish, runner, results, context=self._context)

    def _finish(self, runner: Runner, results: Ran | Exception) -> None:
        try:
            self._advance(runner, results)
        except Exception as exc:
            runner.dismiss()
            self._break(exc)

    def _advance(self, runner: Runner, results: Ran | Exception) -> None:
        """Give a batch's results to its calls, and the thread its next batch."""
        self._service_time.add(
            time.perf_counter() - runner.started,
            calls=len(runner.batch),
            concurrent=self._busy,
        )
        self._settle(runner, results)

        if batch := self._next_batch(runner):
            self._start(runner, batch)
        elif self._tasks is None or len(self._runners) > self._tokens:
            runner.dismiss()
        else:
            self._idle.append(runner)
            self._spare_soon()
            self._hold_back()

    def _settle(self, runner: Runner, results: Ran | Exception) -> None:
        batch, runner.batch = runner.batch, []

        if not isinstance(results, Exception):
            self.statistics.succeed(
                batch, results, started=runner.handed_at, now=clock.now()
            )
            seconds = sum(results.seconds)
            for call, result in zip(batch, results.results, strict=True):
                del self._running[call]
                call.compute_seconds = seconds
                call.succeed(result)
        elif len(batch) == 1:
            del self._running[batch[0]]
            batch[0].fail(results)
        else:
            # Each alone, so that one bad call fails alone.
            log.debug(
                "batch failed, run one by one", calls=len(batch), reason=str(results)
            )
            runner.rest = batch

    def _next_batch(self, runner: Runner) -> list[Call]:
        self._expire()

        while runner.rest:
            call = runner.rest.pop(0)
            if self._tasks is None:
                self._drop([call, *runner.rest])
                runner.rest = []
            elif call.abandoned:
                del self._running[call]
            else:
                return [call]

        if self._tasks is None or len(self._runners) > self._tokens:
            return []

        return self._queue.take(clock.now())

    def _hold_back(self) -> None:
        """Wake when the first call was held back for `max_delay_seconds`."""
        self._holding.cancel()

        if self._tasks is not None and self._queue.calls and self._has_room:
            left = self._queue.held_until() - clock.now()
            self._holding.set(left, self._context)

    def _spare_soon(self) -> None:
        if not self._sparing.pending:
            self._sparing.set(IDLE_SECONDS, self._context)

    def _spare(self) -> None:
        """End the threads that had nothing to run since the last time."""
        limit = time.perf_counter() - IDLE_SECONDS
        self._dismiss_idle(
            keep=sum(runner.started > limit for runner in self._idle),
        )
        if self._idle:
            self._spare_soon()

    def _dismiss_idle(self, *, keep: int) -> None:
        # The last to become idle is the first to run again.
        spare = len(self._idle) - keep
        if spare > 0:
            for runner in self._idle[:spare]:
                runner.dismiss()

            del self._idle[:spare]

    def _set_alarm(self) -> None:
        """Wake at the earliest deadline."""
        if self._deadlines.earliest < math.inf:
            left = self._deadlines.earliest - clock.now()
            self._expiring.set(left, self._context)

    def _ring(self) -> None:
        self._expire()
        # Again, if it rang a moment too early.
        self._set_alarm()

    def _expire(self) -> None:
        now = clock.now()
        if now < self._deadlines.earliest:
            return

        live = [
            call for call in chain(self._queue, self._running) if not call.abandoned
        ]
        for call in self._deadlines.expire(now, live):
            call.fail(
                DeadlineExceeded(_timeout_text(call, waiting=call in self._queue))
            )
            call.abandoned = True
            self._queue.discard(call)

        self._set_alarm()

    def _stop_alarms(self) -> None:
        for alarm in (self._expiring, self._holding, self._sparing):
            alarm.cancel()

    def _drop(self, calls: Iterable[Call], reason: str = UNLOADING) -> None:
        for call in calls:
            self._running.pop(call, None)
            call.fail(Unavailable(reason))


def _timeout_text(call: Call, *, waiting: bool) -> str:
    where = "it was still in the queue" if waiting else "the model was still running"
    # Rounded: of the time that a client gave, reading its body has taken a little.
    left = call.deadline - call.arrived
    seconds = round(left, 2 if left > 0.1 else 6)
    return f"The request's time of {seconds:g} s is over: {where}."
