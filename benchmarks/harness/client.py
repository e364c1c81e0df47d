"""Keep-alive clients that check every answer."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.harness.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.harness.exchanges import Exchange

HOST = "127.0.0.1"


@dataclass(slots=True)
class Tally:
    """Counts of requests by outcome, and the seconds of those answered.

    `wrong` are 200s with another body than expected, `failed` statuses that weren't
    allowed, `left` requests that the client itself hung up on.
    """

    seconds: list[float] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)
    wrong: int = 0
    failed: int = 0
    resets: int = 0
    left: int = 0

    def add(self, exchange: Exchange, status: int, body: bytes, seconds: float) -> None:
        self.seconds.append(seconds)
        self.names[exchange.name] = self.names.get(exchange.name, 0) + 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.wrong += status == 200 and not exchange.right(body)
        self.failed += status not in exchange.allowed


async def run_requests(
    port: int, exchanges: Sequence[Exchange], *, requests: int, connections: int
) -> Tally:
    """Send `requests`, going round `exchanges`, over `connections` kept alive.

    A connection that the server closes is counted, and opened anew, as is one that
    the client has left.
    """
    tally = Tally()
    turns = iter(exchanges[turn % len(exchanges)] for turn in range(requests))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(connections, requests)):
            tasks.create_task(_keep_sending(port, turns, tally))

    return tally


class _Asker:
    """The owner of one connection, which awaits its answers."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def ask(self, connection: Connection, request: bytes) -> tuple[int, bytes]:
        if not connection.open:
            raise ConnectionResetError

        self._answer = asyncio.get_running_loop().create_future()
        connection.send(request, None)
        return await self._answer

    def opened(self, connection: Connection) -> None:
        pass

    def answered(self, connection: Connection, status: int, body: bytes) -> None:
        assert self._answer is not None
        self._answer.set_result((status, body))

    def lost(self, connection: Connection) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())


async def _keep_sending(port: int, turns: Iterator[Exchange], tally: Tally) -> None:
    loop = asyncio.get_running_loop()
    ended = False

    while not ended:
        asker = _Asker()
        _, connection = await loop.create_connection(
            lambda asker=asker: Connection(asker),  # type: ignore[misc]
            HOST,
            port,
        )

        try:
            ended = await _send_all(asker, connection, turns, tally)
        except ConnectionError:
            tally.resets += 1
        finally:
            connection.close()


async def _send_all(
    asker: _Asker, connection: Connection, turns: Iterator[Exchange], tally: Tally
) -> bool:
    """Send until the turns end or the client leaves; return whether they ended."""
    for exchange in turns:
        if exchange.leave is not None:
            tally.left += 1
            connection.send(exchange.request[: exchange.leave.sent], None)
            await asyncio.sleep(exchange.leave.seconds)
            return False

        started = time.perf_counter()
        status, body = await asker.ask(connection, exchange.request)
        tally.add(exchange, status, body, time.perf_counter() - started)

    return True
