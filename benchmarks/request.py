"""One row of a dense model, JSON over kept connections: the CPU time that it takes.

All servers have the same CPU, the generator another; they take turns, 15 rounds of 1 s.
CPU time is what the server's process says of itself, divided by its answers. `bound` is
a bare ASGI function that joins requests under anyio's limiter and calls a session's
callable, the fastest way that TensorFlow itself has; `bound-runtime` is the same with
our runtime. Neither checks, counts or limits anything. `tandem` logs warnings,
`tandem-log` a line a request. Ratios are medians over the rounds.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvicorn
import uvloop

from benchmarks.harness.children import child
from benchmarks.harness.exchanges import predict_path
from benchmarks.harness.generator import Closed, Span, generating
from benchmarks.harness.recording import OK
from benchmarks.harness.report import Report, Table, at_least, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import HOST, ROOT
from benchmarks.load.contenders import (
    BOUND,
    BOUND_RUNTIME,
    LOGGED,
    NAMES,
    RUNTIME,
    TANDEM,
    running,
)
from benchmarks.load.workloads import DENSE, prepare
from service.server.limits import ConnectionLimits, Connections
from service.server.protocol import JsonErrorProtocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness.generator import Generator
    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from benchmarks.load.contenders import Running
    from inference.types import Array

SERVERS = {
    **{name: NAMES[name] for name in (BOUND, TANDEM, LOGGED)},
    RUNTIME: BOUND_RUNTIME,
}
CONNECTIONS = (32, 128)
WARM_SECONDS, SECONDS = 0.5, 1.0
REQUESTS, AT_ONCE = 3200, 32
LOAD_SECONDS = 60
GOOD = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One server's turn: CPU microseconds an answer, and answers a second."""

    server: str
    connections: int
    cpu: float
    rate: float


@dataclass(slots=True)
class Turns:
    """All turns, and what is made of them."""

    taken: list[Turn] = field(default_factory=list)

    def of(self, server: str, connections: int) -> list[Turn]:
        return [
            turn
            for turn in self.taken
            if (turn.server, turn.connections) == (server, connections)
        ]

    def cpu_ratio(self, server: str, connections: int, base: str = BOUND) -> float:
        """Return the CPU time of `base` over that of `server`."""
        both = zip(
            self.of(base, connections), self.of(server, connections), strict=True
        )
        return statistics.median(theirs.cpu / ours.cpu for theirs, ours in both)

    def rate_ratio(self, server: str, connections: int, base: str = BOUND) -> float:
        """Return the answers a second of `server` over those of `base`."""
        both = zip(
            self.of(base, connections), self.of(server, connections), strict=True
        )
        return statistics.median(ours.rate / theirs.rate for theirs, ours in both)


def measure(run: Run) -> Report:
    """Compare the CPU time and the rate of servers that take turns."""
    rounds = 2 if run.quick else 15
    bench = prepare(run)
    turns = Turns()

    with generating(run.client_cpus) as generator, ExitStack() as stack:
        servers = [
            stack.enter_context(running(server, bench, DENSE.model))
            for server in SERVERS.values()
        ]

        for number in range(rounds):
            for connections in CONNECTIONS:
                for server in servers:
                    turn = take_turn(generator, server, connections, SECONDS)
                    turns.taken.append(turn)

            say(f"round {number + 1} of {rounds}")

    with child(run.server_cpus) as alone:
        calls, modules = alone.call(
            count_calls, bench.repository, bench.cache, run.folder / "data", bench.rows
        )

    return Report(
        title="A small request",
        figures=figures(turns, calls, len(modules)),
        tables=[table(turns)],
        notes=[f"modules of ours on the way: {', '.join(modules)}"],
        raw=turns.taken,
    )


def take_turn(
    generator: Generator, server: Running, connections: int, seconds: float
) -> Turn:
    stream = Closed(
        port=server.port,
        exchanges=server.exchanges(DENSE.model, DENSE.rows),
        connections=connections,
    )
    generator.run([stream], Span(seconds=WARM_SECONDS, settle=0))
    before = server.server.cpu_seconds()
    [recording] = generator.run([stream], Span(seconds=seconds, settle=0))
    spent = server.server.cpu_seconds() - before
    answers = sum(status == OK for status in recording.statuses)
    return Turn(
        server=server.contender.name,
        connections=connections,
        cpu=spent / answers * 1e6,
        rate=answers / seconds,
    )


def figures(turns: Turns, calls: float, modules: int) -> list[Figure]:
    return [
        at_least(0.85, "CPU of the bound over ours", turns.cpu_ratio(TANDEM, 32)),
        at_least(0.8, "the same, with a log line", turns.cpu_ratio(LOGGED, 32)),
        at_least(0.8, "answers a second, 32 connections", turns.rate_ratio(TANDEM, 32)),
        at_least(0.7, "the same, 128 connections", turns.rate_ratio(TANDEM, 128)),
        at_most(150, "function calls of a request, in process", calls),
        at_most(12, "modules of ours that it passes", modules),
    ]


def table(turns: Turns) -> Table:
    return Table(
        title="Medians",
        columns=(
            *("server", "connections", "CPU µs", "answers/s", "bound's CPU / its"),
            "bound-runtime's CPU / its",
        ),
        rows=[
            (
                server,
                str(connections),
                f"{statistics.median(turn.cpu for turn in found):.0f}",
                f"{statistics.median(turn.rate for turn in found):,.0f}",
                f"{turns.cpu_ratio(server, connections):.2f}",
                f"{turns.cpu_ratio(server, connections, RUNTIME):.2f}",
            )
            for connections in CONNECTIONS
            for server in SERVERS
            for found in [turns.of(server, connections)]
        ],
    )


def count_calls(
    repository: Path, cache: Path, data: Path, rows: dict[str, Array]
) -> tuple[float, Sequence[str]]:
    """Return the function calls of a request, and the modules of ours that it passes.

    Without sockets, in this process: requests of one row, `AT_ONCE` at a time.
    """
    body = json.dumps({"instances": rows[DENSE.model][:1].tolist()}).encode()
    # The server's own kind of loop: asyncio's has more calls of Python's.
    return uvloop.run(_count_calls(repository, cache, data, body))


async def _count_calls(
    repository: Path, cache: Path, data: Path, body: bytes
) -> tuple[float, Sequence[str]]:
    from service.composition import compose
    from service.settings.settings import load_settings

    settings = load_settings(
        models=repository, cache_dir=cache, data_dir=data, log_level="warning"
    )
    app = compose(settings)
    client = _Client(app, body)

    async with _Lifespan(app):
        await client.ask_until_ready()
        await client.ask_many(AT_ONCE)
        profile = cProfile.Profile()
        profile.enable()
        await client.ask_many(REQUESTS)
        profile.disable()

    entries: Any = profile.getstats()
    codes = [(entry.code, entry.callcount) for entry in entries]
    files = {
        Path(code.co_filename)
        for code, count in codes
        if not isinstance(code, str) and count >= REQUESTS / 2
    }
    ours = [path for path in files if path.is_relative_to(ROOT) and path != _HERE]
    counted = [
        count
        for code, count in codes
        if isinstance(code, str) or Path(code.co_filename) != _HERE
    ]
    return (
        sum(counted) / REQUESTS,
        sorted(
            str(path.relative_to(ROOT)) for path in ours if ".venv" not in str(path)
        ),
    )


_HERE = Path(__file__)


class _Client:
    """Sends one request again and again, on connections without sockets."""

    def __init__(self, app: Any, body: bytes) -> None:
        head = (
            f"POST {predict_path(DENSE.model)} HTTP/1.1\r\nhost: {HOST}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body
        config = uvicorn.Config(app, lifespan="off", proxy_headers=False)
        config.load()
        state = Connections(ConnectionLimits())
        self._protocol = partial(JsonErrorProtocol, config, state, {})

    async def ask_until_ready(self) -> None:
        connection = _Connection(self._protocol())

        # The model is being loaded: nothing here would tell when it is there.
        for _ in range(LOAD_SECONDS * 10):
            if (await connection.ask(self._request)).startswith(GOOD):
                return

            await asyncio.sleep(0.1)

        raise TimeoutError("The model wasn't loaded in time.")

    async def ask_many(self, requests: int) -> None:
        async def ask_in_turn() -> None:
            connection = _Connection(self._protocol())
            for _ in range(requests // AT_ONCE):
                assert (await connection.ask(self._request)).startswith(GOOD)

        await asyncio.gather(*(ask_in_turn() for _ in range(AT_ONCE)))


class _Connection:
    """The transport of a connection."""

    def __init__(self, protocol: JsonErrorProtocol) -> None:
        self._protocol = protocol
        protocol.connection_made(cast("Any", self))

    async def ask(self, request: bytes) -> bytes:
        self._answer = asyncio.get_running_loop().create_future()
        self._protocol.data_received(request)
        answer: bytes = await self._answer
        return answer

    def write(self, data: bytes) -> None:
        # An answer by ASGI's messages is written in two pieces.
        if not self._answer.done():
            self._answer.set_result(data)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Lifespan:
    """An ASGI application, started and stopped."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(
            self._app({"type": "lifespan"}, self._messages.get, self._answers.put)
        )
        await self._pass("lifespan.startup")

    async def __aexit__(self, *exc_info: object) -> None:
        await self._pass("lifespan.shutdown")
        await self._task

    async def _pass(self, kind: str) -> None:
        await self._messages.put({"type": kind})
        assert (await self._answers.get())["type"] == f"{kind}.complete"
