"""A process that sends streams of requests: in closed loops, or at fixed instants."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

import numpy as np
import uvloop

from benchmarks.harness.children import child
from benchmarks.harness.connection import Connection
from benchmarks.harness.recording import OK, RESET, UNANSWERED, Recording
from benchmarks.harness.servers import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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

    `connections` is the most that are opened; a request that finds none free waits
    for one, and its latency counts from when it was due.
    """

    port: int
    exchanges: Sequence[Exchange]
    rate: float
    connections: int = 1024
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
    """Connections, columns and samples of answers, common to both kinds."""

    def __init__(self, stream: Stream, span: Span) -> None:
        self.recording = Recording()
        self._span = span
        self._port = stream.port
        self._exchanges = stream.exchanges
        self._requests = [exchange.request for exchange in stream.exchanges]
        self._turn = 0
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._samples: list[tuple[int, bytes]] = []
        self._origin = 0.0
        self._answers = 0

    async def run(self, origin: float) -> None:
        """Send from `origin`, a `perf_counter`, to the end of the span."""
        raise NotImplementedError

    def check(self) -> None:
        """Compare the sampled answers; to be called when nothing is measured."""
        for turn, body in self._samples:
            self.recording.checked += 1
            self.recording.wrong += not self._exchanges[turn].right(body)

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        raise NotImplementedError

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)

        if connection.busy:
            connection.busy = False
            self._record(connection, RESET)

    def _start(self, origin: float) -> None:
        self._origin = self.recording.origin = origin

    def _now(self) -> float:
        return perf_counter() - self._origin

    def _send(self, connection: Connection, intended: float) -> None:
        turn = self._turn
        self._turn = turn + 1 if turn + 1 < len(self._requests) else 0
        connection.send(self._requests[turn], (turn, intended, self._now()))

    def _record(self, connection: Connection, status: int, body: bytes = b"") -> None:
        turn, intended, sent = connection.sent
        self.recording.add(intended, sent, self._now(), status)

        if status == OK:
            self._answers += 1

            if self._answers % CHECK_EVERY == 1:
                self._samples.append((turn, body))

    def _open(self) -> None:
        task = asyncio.get_running_loop().create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()

        try:
            await loop.create_connection(lambda: Connection(self), HOST, self._port)
        except OSError:
            # The server doesn't listen, or its backlog is full.
            await asyncio.sleep(_POLL_SECONDS)
            self._retry()

    def _retry(self) -> None:
        """Open another connection if one is still wanted."""
        raise NotImplementedError

    async def _finish(self) -> None:
        """Wait for open requests, then give up the rest."""
        last = self._span.end + self._span.drain

        while self._unfinished() and self._now() < last:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_SECONDS)

        for task in list(self._opening):
            task.cancel()

        for connection in list(self._connections):
            if connection.busy:
                connection.busy = False
                self._record(connection, UNANSWERED)

            connection.close()

    def _unfinished(self) -> bool:
        return any(connection.busy for connection in self._connections)


class ClosedSender(Sender):
    """Each connection sends its next request when the last is answered."""

    def __init__(self, stream: Closed, span: Span) -> None:
        super().__init__(stream, span)
        self._size = stream.connections

    async def run(self, origin: float) -> None:
        self._start(origin)
        await asyncio.sleep(max(-self._now(), 0))

        for _ in range(self._size):
            self._open()

        await asyncio.sleep(max(self._span.end - self._now(), 0))
        await self._finish()

    def opened(self, connection: Connection) -> None:
        super().opened(connection)
        self._next(connection)

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        self._record(connection, status, body)
        self._next(connection)

    def lost(self, connection: Connection) -> None:
        super().lost(connection)
        self._retry()

    def _retry(self) -> None:
        if self._now() < self._span.end:
            self._open()

    def _next(self, connection: Connection) -> None:
        # A loop's timer may ring some microseconds early.
        now = max(self._now(), 0.0)

        if now < self._span.end and connection.open:
            self._send(connection, now)


class OpenSender(Sender):
    """Requests begin when they are due, on a free connection or as soon as one is."""

    def __init__(self, stream: Open, span: Span) -> None:
        super().__init__(stream, span)
        self._due = stream.arrivals(span.end)
        self._position = 0
        self._most = stream.connections
        self._free: list[Connection] = []
        self._waiting: deque[float] = deque()

    async def run(self, origin: float) -> None:
        self._start(origin)

        for _ in range(min(FIRST_CONNECTIONS, self._most)):
            self._open()

        with _Alarm(asyncio.get_running_loop(), self._tick) as alarm:
            self._alarm = alarm
            self._tick()
            await asyncio.sleep(max(self._span.end - self._now(), 0))
            await self._finish()

    def opened(self, connection: Connection) -> None:
        super().opened(connection)
        self._next(connection)

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        self._record(connection, status, body)

        if connection.open:
            self._next(connection)

    def lost(self, connection: Connection) -> None:
        super().lost(connection)

        if connection in self._free:
            self._free.remove(connection)

        self._retry()

    async def _finish(self) -> None:
        await super()._finish()

        for intended in (*self._waiting, *self._due[self._position :]):
            self.recording.add(intended, self._now(), self._now(), UNANSWERED)

        self._waiting.clear()

    def _unfinished(self) -> bool:
        # A request due in the last instant begins a little later than that.
        begun = self._position == len(self._due)
        return not begun or bool(self._waiting) or super()._unfinished()

    def _tick(self) -> None:
        """Begin the requests that are due, a burst at most; set the next alarm."""
        due, position = self._due, self._position
        stop = min(position + BURST, len(due))
        now = self._now()

        while position < stop and due[position] <= now:
            self._position = position + 1
            self.recording.late.append(now - due[position])
            self._arrive(due[position], now)
            position += 1
            now = self._now()

        if position < len(due):
            self._alarm.set(self._origin + due[position])

    def _arrive(self, intended: float, now: float) -> None:
        while self._free:
            connection = self._free.pop()

            if now - connection.idle_since < IDLE_SECONDS:
                self._send(connection, intended)
                return

            connection.close()

        self._waiting.append(intended)
        self._retry()

    def _next(self, connection: Connection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
            return

        connection.idle_since = self._now()
        self._free.append(connection)

    def _retry(self) -> None:
        opening = len(self._opening)
        count = len(self._connections) + opening

        if opening < len(self._waiting) and count < self._most:
            self._open()


class _Setting(ctypes.Structure):
    """C's `itimerspec`: the interval, then the instant."""

    _fields_ = tuple(
        (name, ctypes.c_long)
        for name in ("interval", "interval_ns", "seconds", "nanoseconds")
    )


class _Alarm:
    """Calls `ring` on the loop's thread at an instant of `time.perf_counter`, exact to
    some microseconds (Linux only)."""

    # A loop's own timers count whole milliseconds: many requests would start in one
    # burst at each. Spinning instead would take the CPU from the responses.

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._ring = ring
        self._libc = ctypes.CDLL(None, use_errno=True)
        # The clock of `time.perf_counter` is CLOCK_MONOTONIC, 1.
        self._file = self._libc.timerfd_create(1, os.O_NONBLOCK | os.O_CLOEXEC)
        self._setting = _Setting()
        loop.add_reader(self._file, self._wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def set(self, instant: float) -> None:
        """Ring once at `instant`, or at once if it is over, and at no earlier one."""
        self._setting.seconds = int(instant)
        # All zeros would disarm the timer.
        self._setting.nanoseconds = max(int(instant % 1 * 1e9), 1)
        absolute = 1
        setting = ctypes.byref(self._setting)
        self._libc.timerfd_settime(self._file, absolute, setting, None)

    def _wake(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return

        self._ring()
