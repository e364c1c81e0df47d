"""A process that sends streams of requests: in closed loops, or at fixed instants."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import math
import os
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

import numpy as np
import uvloop

from benchmarks.harness.children import child
from benchmarks.harness.client import Connection, connect
from benchmarks.harness.recording import DROPPED, OK, RESET, UNANSWERED, Recording

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from benchmarks.harness.children import Child
    from benchmarks.harness.exchanges import Exchange

CHECK_EVERY = 100
"""One answer in this many is compared, after the run."""
BURST = 64
"""Requests due at once, before responses get a turn."""
FIRST_CONNECTIONS = 32
IDLE_SECONDS = 2.0
"""Longer unused, a connection is left: servers close theirs after 5 s or so."""
_HEAD_START = 0.02
"""Seconds between a plan's arrival and its first request."""
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """`connections` that each send the next request when the last is answered."""

    port: int
    exchanges: Sequence[Exchange]
    connections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """`rate` requests a second, at instants that don't depend on the answers.

    `connections` is the most that are opened. A request that finds none free waits for
    one, and its latency counts from when it was due; with `drops` it isn't sent at all.
    """

    # Beyond a server's capacity requests that wait are a queue without end in the
    # client: each is later than the last, whatever the server does. k6, whose virtual
    # users are such connections, drops them too.

    port: int
    exchanges: Sequence[Exchange]
    rate: float
    connections: int = 1024
    drops: bool = False
    pace: Literal["poisson", "constant"] = "poisson"
    seed: int = 1

    def arrivals(self, seconds: float) -> list[float]:
        """Return when requests are due, in seconds from the start, up to `seconds`."""
        count = int(self.rate * seconds) + 1

        if self.pace == "constant":
            return [position / self.rate for position in range(count)]

        # So many gaps are enough in all but one of a million draws.
        most = count + int(5 * count**0.5) + 10
        gaps = np.random.default_rng(self.seed).exponential(1 / self.rate, most)
        due = np.cumsum(gaps)
        instants: list[float] = due[due < seconds].tolist()
        return instants


Stream: TypeAlias = Closed | Open


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """`settle` seconds that don't count, `seconds` that do, then at most `drain` more
    for open requests."""

    seconds: float
    settle: float = 0.5
    drain: float = 5.0

    @property
    def end(self) -> float:
        return self.settle + self.seconds


class Generator:
    """The process that sends, driven from this one."""

    def __init__(self, process: Child) -> None:
        self._process = process

    def run(self, streams: Sequence[Stream], span: Span) -> list[Recording]:
        """Send all streams at once; block until all are answered or given up."""
        return self._process.call(generate, streams, span)

    def rate(self, stream: Stream, span: Span) -> float:
        """Return answers a second. Raise `AssertionError` for one that isn't right."""
        [recording] = self.run([stream], span)
        assert set(recording.statuses) == {OK}, set(recording.statuses)
        assert not recording.wrong
        ended = np.asarray(recording.ended)
        counted = (ended >= span.settle) & (ended < span.settle + span.seconds)
        return float(counted.sum()) / span.seconds


@contextmanager
def generating(cpus: Sequence[int]) -> Iterator[Generator]:
    """Start a generator pinned to `cpus`, until the block ends."""
    with child(cpus) as process:
        yield Generator(process)


def generate(streams: Sequence[Stream], span: Span) -> list[Recording]:
    """Send all streams at once from this process."""
    # A collection would stop the clock for milliseconds.
    gc.collect()
    gc.freeze()
    gc.disable()

    try:
        return uvloop.run(send_all(streams, span))
    finally:
        gc.enable()
        gc.unfreeze()


async def send_all(streams: Sequence[Stream], span: Span) -> list[Recording]:
    """Send all streams at once on this loop, then compare samples of the answers."""
    senders = [
        ClosedSender(stream, span)
        if isinstance(stream, Closed)
        else OpenSender(stream, span)
        for stream in streams
    ]
    origin = perf_counter() + _HEAD_START

    async with asyncio.TaskGroup() as tasks:
        for sender in senders:
            tasks.create_task(sender.run(origin))

    for sender in senders:
        sender.check()

    return [sender.recording for sender in senders]


class Sender:
    """One stream being sent; columns of it, and samples of the answers."""

    def __init__(self, stream: Stream, span: Span) -> None:
        self.recording = Recording()
        self._port = stream.port
        self._exchanges = stream.exchanges
        self._requests = cycle(enumerate(each.request for each in stream.exchanges))
        self._end = span.end
        self._last = span.end + span.drain
        self._samples: list[tuple[int, bytes]] = []
        self._answers = 0
        self._connections: list[Connection] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, origin: float) -> None:
        """Send from `origin`, a `perf_counter`, to the end of the span; then wait for
        open requests, and give up the rest."""
        self._origin = self.recording.origin = origin

        async with asyncio.TaskGroup() as self._group:
            await self._start()

            while self._tasks and (left := self._last - self._now()) > 0:
                await asyncio.wait(self._tasks, timeout=left)

            for task in self._tasks:
                task.cancel()

        for connection in self._connections:
            connection.close()

    def check(self) -> None:
        """Compare the sampled answers; to be called when nothing is measured."""
        for turn, body in self._samples:
            self.recording.checked += 1
            self.recording.wrong += not self._exchanges[turn].right(body)

    async def _start(self) -> None:
        """Begin the tasks that send."""
        raise NotImplementedError

    def _now(self) -> float:
        return perf_counter() - self._origin

    def _spawn(self, sending: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(sending)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> Connection:
        while True:
            try:
                connection = await connect(self._port)
            except OSError:
                # The server doesn't listen, or its backlog is full.
                await asyncio.sleep(_POLL_SECONDS)
            else:
                connection.idle_since = self._now()
                self._connections.append(connection)
                return connection

    async def _ask(self, connection: Connection, intended: float) -> None:
        """Send the next request, and record its outcome even if it is cancelled."""
        turn, request = next(self._requests)
        sent = self._now()
        status, body = UNANSWERED, b""

        try:
            status, body = await connection.ask(request)
        except ConnectionResetError:
            status = RESET
        finally:
            self.recording.add(intended, sent, self._now(), status)

        if status == OK:
            self._answers += 1

            if self._answers % CHECK_EVERY == 1:
                self._samples.append((turn, body))


class ClosedSender(Sender):
    """Each connection sends its next request when the last is answered."""

    def __init__(self, stream: Closed, span: Span) -> None:
        super().__init__(stream, span)
        self._size = stream.connections

    async def _start(self) -> None:
        await asyncio.sleep(max(-self._now(), 0))

        for _ in range(self._size):
            self._spawn(self._keep_asking())

    async def _keep_asking(self) -> None:
        while self._now() < self._end:
            connection = await self._connect()

            while connection.open and (now := self._now()) < self._end:
                # A loop's timer may ring some microseconds early.
                await self._ask(connection, max(now, 0.0))


class OpenSender(Sender):
    """Requests begin when they are due, on a free connection or a new one."""

    def __init__(self, stream: Open, span: Span) -> None:
        super().__init__(stream, span)
        self._due = stream.arrivals(span.end)
        self._places = asyncio.Semaphore(stream.connections)
        self._most = stream.connections if stream.drops else math.inf
        self._first = min(FIRST_CONNECTIONS, stream.connections)
        self._free: list[Connection] = []

    async def _start(self) -> None:
        self._free += await asyncio.gather(
            *(self._connect() for _ in range(self._first))
        )

        with _Alarm() as alarm:
            for position, intended in enumerate(self._due):
                if self._now() < intended:
                    await alarm.wait(self._origin + intended)
                elif position % BURST == 0:
                    await asyncio.sleep(0)

                now = self._now()
                self.recording.late.append(max(now - intended, 0.0))

                if len(self._tasks) >= self._most:
                    self.recording.add(intended, now, now, DROPPED)
                else:
                    self._spawn(self._send(intended))

    async def _send(self, intended: float) -> None:
        begun = False

        try:
            async with self._places:
                connection = await self._take()
                begun = True
                await self._ask(connection, intended)
                connection.idle_since = self._now()
                self._free.append(connection)
        finally:
            if not begun:
                now = self._now()
                self.recording.add(intended, now, now, UNANSWERED)

    async def _take(self) -> Connection:
        while self._free:
            connection = self._free.pop()

            if connection.open and self._now() - connection.idle_since < IDLE_SECONDS:
                return connection

            connection.close()

        return await self._connect()


class _Setting(ctypes.Structure):
    """C's `itimerspec`: the interval, then the instant."""

    _fields_ = tuple(
        (name, ctypes.c_long)
        for name in ("interval", "interval_ns", "seconds", "nanoseconds")
    )


class _Alarm:
    """A wait for an instant that is exact to some microseconds (Linux only)."""

    # A loop's own timers count whole milliseconds: many requests would start in one
    # burst at each. Spinning instead would take the CPU from the responses.

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._libc = ctypes.CDLL(None, use_errno=True)
        # The clock of `time.perf_counter` is CLOCK_MONOTONIC, 1.
        self._file = self._libc.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)
        self._rung = asyncio.Event()
        self._loop.add_reader(self._file, self._ring)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._file)
        os.close(self._file)

    async def wait(self, instant: float) -> None:
        """Return at `instant`, a `perf_counter`, or soon if it is over."""
        # All zeros would disarm the timer.
        nanoseconds = max(int(instant % 1 * 1e9), 1)
        setting = _Setting(seconds=int(instant), nanoseconds=nanoseconds)
        absolute = 1
        self._rung.clear()
        self._libc.timerfd_settime(self._file, absolute, ctypes.byref(setting), None)
        await self._rung.wait()

    def _ring(self) -> None:
        os.read(self._file, 8)
        self._rung.set()
