"""One kept connection, and clients that check every answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpResponseParser

from benchmarks.harness.exchanges import Manner
from benchmarks.harness.servers import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.harness.exchanges import Exchange

PAUSE_SECONDS = 0.005
"""Of a slow client between the parts of a request."""

AHEAD = 3
"""Requests of a client that doesn't wait in between."""


class Connection(asyncio.Protocol):
    """A connection, fast enough to measure with."""

    __slots__ = ("_answers", "_loop", "_parser", "_parts", "_transport", "idle_since")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._answers: deque[asyncio.Future[tuple[int, bytes]]] = deque()
        self.idle_since = 0.0

    @property
    def open(self) -> bool:
        return not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        """Send a part of a request that isn't waited for."""
        self._transport.write(data)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Return the status and body of the response. Raises `ConnectionResetError`."""
        if self._transport.is_closing():
            raise ConnectionResetError

        answer = self._expect()
        self._transport.write(request)
        return await answer

    async def ask_slowly(self, request: bytes) -> tuple[int, bytes]:
        """Ask in three parts, with pauses in between."""
        third = len(request) // 3
        for start in (0, third):
            self._transport.write(request[start : start + third])
            await asyncio.sleep(PAUSE_SECONDS)

        return await self.ask(request[2 * third :])

    async def ask_last(self, request: bytes) -> tuple[int, bytes]:
        """Ask, and close the sending side."""
        answer = self._expect()
        self._transport.write(request)
        self._transport.write_eof()
        return await answer

    async def ask_ahead(self, request: bytes, times: int) -> list[tuple[int, bytes]]:
        """Ask several times without waiting in between."""
        answers = [self._expect() for _ in range(times)]
        self._transport.write(request * times)
        return list(await asyncio.gather(*answers))

    def _expect(self) -> asyncio.Future[tuple[int, bytes]]:
        answer: asyncio.Future[tuple[int, bytes]] = self._loop.create_future()
        self._answers.append(answer)
        return answer

    def close(self) -> None:
        """Drop it at once, even with a request on it."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        # Data without a request: the server is about to close the connection.
        if not self._answers:
            self.close()
            return

        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for answer in self._answers:
            if not answer.done():
                answer.set_exception(ConnectionResetError())

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._parts)
        self._parts.clear()
        # A word on the way: the answer is still to come.
        if self._parser.get_status_code() < 200:
            return

        if not self._parser.should_keep_alive():
            self.close()

        self._answers.popleft().set_result((self._parser.get_status_code(), body))


async def connect(port: int) -> Connection:
    """Open a connection. Raises `OSError` where no server listens."""
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, HOST, port)
    return connection


@dataclass(slots=True)
class Tally:
    """Counts of requests by outcome, and the seconds of those answered.

    `wrong` are 200s with another body than expected, `failed` requests with a status
    that wasn't allowed, by both, `left` requests that the client itself hung up on,
    `copies` requests beyond one of a turn.
    """

    seconds: list[float] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    resets: int = 0
    left: int = 0
    copies: int = 0

    def add(self, exchange: Exchange, status: int, body: bytes, seconds: float) -> None:
        self.seconds.append(seconds)
        self.names[exchange.name] += 1
        self.statuses[status] += 1
        self.wrong += status == 200 and not exchange.right(body)

        if status not in exchange.allowed:
            self.failed[f"{exchange.name}: {status}"] += 1


async def run_requests(
    port: int, exchanges: Sequence[Exchange], *, requests: int, connections: int
) -> Tally:
    """Send `requests`, going round `exchanges`, over `connections` kept alive.

    A connection that the server closes is counted, and opened anew, as is one that
    the client has left or closed its side of.
    """
    tally = Tally()
    turns = iter(exchanges[turn % len(exchanges)] for turn in range(requests))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(connections, requests)):
            tasks.create_task(_keep_sending(port, turns, tally))

    return tally


async def _keep_sending(port: int, turns: Iterator[Exchange], tally: Tally) -> None:
    ended = False

    while not ended:
        connection = await connect(port)

        try:
            ended = await _send_all(connection, turns, tally)
        except ConnectionResetError:
            tally.resets += 1
        finally:
            connection.close()


async def _send_all(
    connection: Connection, turns: Iterator[Exchange], tally: Tally
) -> bool:
    """Send until the turns end or the client leaves; return whether they ended."""
    for exchange in turns:
        if exchange.leave is not None:
            tally.left += 1
            connection.send(exchange.request[: exchange.leave.sent])
            await asyncio.sleep(exchange.leave.seconds)
            return False

        started = time.perf_counter()
        for status, body in await _ask(connection, exchange, tally):
            tally.add(exchange, status, body, time.perf_counter() - started)

        if exchange.manner is Manner.HALF_CLOSED:
            return False

    return True


async def _ask(
    connection: Connection, exchange: Exchange, tally: Tally
) -> list[tuple[int, bytes]]:
    """Ask in the exchange's manner. Raises `ConnectionResetError`."""
    if exchange.manner is Manner.PIPELINED:
        tally.copies += AHEAD - 1
        return await connection.ask_ahead(exchange.request, AHEAD)

    if exchange.manner is Manner.SLOW:
        return [await connection.ask_slowly(exchange.request)]

    if exchange.manner is Manner.HALF_CLOSED:
        return [await connection.ask_last(exchange.request)]

    return [await connection.ask(exchange.request)]
