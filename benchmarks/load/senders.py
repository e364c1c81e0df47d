"""Sends the requests of one stream over connections, on one event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING

from benchmarks.load.alarm import Alarm
from benchmarks.load.connection import Connection
from benchmarks.load.recording import OK, RESET, UNANSWERED, Recording

if TYPE_CHECKING:
    from benchmarks.load.streams import Closed, Open, Span

HOST = "127.0.0.1"
CHECK_EVERY = 100
"""One answer in this many is compared, after the run."""
BURST = 64
"""Requests due at once, before responses get a turn."""
FIRST_CONNECTIONS = 32
IDLE_SECONDS = 2.0
"""Longer unused, a connection is left: servers close theirs after 5 s or so."""
_POLL_SECONDS = 0.01


class Sender:
    """What the two kinds share: connections, columns, and samples of the answers."""

    def __init__(self, stream: Closed | Open, span: Span) -> None:
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
            await asyncio.sleep(_POLL_SECONDS)
            self._failed_to_open()

    def _failed_to_open(self) -> None:
        """Nobody listened, or the server's backlog is full."""
        self._open()

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        raise NotImplementedError

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)

        if connection.busy:
            connection.busy = False
            self._record(connection, RESET)

    async def _finish(self) -> None:
        """Wait for what is unanswered, then leave."""
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
        loop = asyncio.get_running_loop()

        for _ in range(min(FIRST_CONNECTIONS, self._most)):
            self._open()

        with Alarm(loop, self._tick) as alarm:
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

        self._grow()

    async def _finish(self) -> None:
        await super()._finish()

        for intended in (*self._waiting, *self._due[self._position :]):
            self.recording.add(intended, self._now(), self._now(), UNANSWERED)

        self._waiting.clear()

    def _unfinished(self) -> bool:
        # What is due in the last instant is begun a little later than that.
        begun = self._position == len(self._due)
        return not begun or bool(self._waiting) or super()._unfinished()

    def _tick(self) -> None:
        """Begin what is due, a burst at most; come again for the next."""
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
        self._grow()

    def _next(self, connection: Connection) -> None:
        if self._waiting:
            self._send(connection, self._waiting.popleft())
            return

        connection.idle_since = self._now()
        self._free.append(connection)

    def _grow(self) -> None:
        """Open another connection where requests wait for one."""
        opening = len(self._opening)

        if opening < len(self._waiting) and self._count() < self._most:
            self._open()

    def _count(self) -> int:
        return len(self._connections) + len(self._opening)

    def _failed_to_open(self) -> None:
        self._grow()
