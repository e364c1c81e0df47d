"""Keep-alive connections that send requests one after the other, and check answers.

No HTTP library: one that is fast enough not to be what is measured checks less.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """How a client hangs up: with `sent` of the request's bytes gone, and `seconds`
    later."""

    sent: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request's bytes, and whether a body is the right answer to it.

    `allowed` are the statuses that are no failure. One with a `leave` isn't waited for.
    """

    name: str
    request: bytes
    right: Callable[[bytes], bool]
    allowed: frozenset[int] = frozenset({200})
    leave: Leave | None = None


@dataclass(slots=True)
class Tally:
    """What came of the requests: seconds of those answered, and what went wrong.

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


def get(name: str, path: str, right: Callable[[bytes], bool]) -> Exchange:
    head = f"GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n"
    return Exchange(name=name, request=head.encode(), right=right)


def post(
    name: str,
    path: str,
    body: bytes,
    right: Callable[[bytes], bool],
    *,
    headers: str = "",
) -> Exchange:
    """`headers` are more of them, each with its line's end."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: soak\r\nContent-Type: application/json\r\n"
        f"{headers}Content-Length: {len(body)}\r\n\r\n"
    )
    return Exchange(name=name, request=head.encode() + body, right=right)


async def run_requests(
    address: tuple[str, int],
    exchanges: Sequence[Exchange],
    *,
    requests: int,
    connections: int,
) -> Tally:
    """Send `requests`, going round `exchanges`, over `connections` kept alive.

    A connection that the server closes is counted, and opened anew, as is one that
    the client has left.
    """
    tally = Tally()
    turns = iter(exchanges[turn % len(exchanges)] for turn in range(requests))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(connections, requests)):
            tasks.create_task(_keep_sending(address, turns, tally))

    return tally


async def _keep_sending(
    address: tuple[str, int], turns: Iterator[Exchange], tally: Tally
) -> None:
    ended = False

    while not ended:
        reader, writer = await asyncio.open_connection(*address)

        try:
            ended = await _send_all(reader, writer, turns, tally)
        except (ConnectionError, asyncio.IncompleteReadError):
            tally.resets += 1
        finally:
            writer.close()


async def _send_all(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    turns: Iterator[Exchange],
    tally: Tally,
) -> bool:
    for exchange in turns:
        if exchange.leave is not None:
            tally.left += 1
            writer.write(exchange.request[: exchange.leave.sent])
            await asyncio.sleep(exchange.leave.seconds)
            return False

        started = time.perf_counter()
        writer.write(exchange.request)
        status, body = await _response(reader)
        tally.add(exchange, status, body, time.perf_counter() - started)

    return True


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next response; its length must be in the head."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
    return int(head[9:12]), await reader.readexactly(int(length))
