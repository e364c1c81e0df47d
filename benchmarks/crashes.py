"""Jobs that are submitted while servers are killed: each ends right, and once.

200 jobs are submitted by four clients, each with an `Idempotency-Key`, while a server
and its workers are killed by SIGKILL ten times, at random moments, and started again.
Of two servers on Redis the last kill of one is for good. Every job that got a 202 must
then succeed, with the right answer, and be there once.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx

from benchmarks.harness.children import child
from benchmarks.harness.models import compile_models
from benchmarks.harness.report import Report, Table, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import HOST, free_port, serving, tandem
from demo.half_plus_two import write_half_plus_two
from tests.support.redis_servers import PROGRAM, RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from anyio.abc import TaskGroup
    from anyio.streams.memory import MemoryObjectSendStream

    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from benchmarks.harness.servers import Server

MODEL = "half_plus_two"
PREDICT = f"/v1/models/{MODEL}:predict"
SUBMITTERS = 4
AHEAD = 10
"""Jobs that may be accepted while a server is killed and started again."""
LATEST_SECONDS = 0.02
POLL_SECONDS = 0.005
CLIENT_SECONDS = 90.0
COLUMNS = (
    *("store, servers × workers", "jobs", "kills", "run again"),
    *("lost", "wrong", "twice", "seconds"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Servers that share a store; the first of them is killed."""

    store: str
    servers: int = 1
    workers: int = 1

    @property
    def name(self) -> str:
        return f"{self.store}, {self.servers} × {self.workers}"


CASES = (
    Case(store="SQLite"),
    Case(store="SQLite", workers=2),
    Case(store="Redis", servers=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The jobs of a case once all is over; `again` were begun more than once."""

    case: Case
    jobs: int
    kills: int
    again: int
    lost: int
    wrong: int
    twice: int
    seconds: float


def measure(run: Run) -> Report:
    """Kill servers while they accept and run jobs; look for what is amiss."""
    jobs, kills = (40, 2) if run.quick else (200, 10)
    outcomes, notes = [], []
    _write(run.folder)

    for case in CASES:
        if case.store == "Redis" and shutil.which(PROGRAM) is None:
            notes.append(f"Redis is left out: there is no {PROGRAM}")
            continue

        outcome = anyio.run(_campaign, case, run.folder, jobs, kills)
        say(f"{case.name}: {outcome.lost} lost, {outcome.wrong} wrong")
        outcomes.append(outcome)

    return Report(
        title="Jobs, and servers that are killed",
        figures=[figure for outcome in outcomes for figure in _figures(outcome)],
        tables=[Table(title="Outcomes", columns=COLUMNS, rows=[*map(_row, outcomes)])],
        notes=notes,
    )


def _write(folder: Path) -> None:
    """Write the model, and its artifact."""
    path = folder / "models" / MODEL

    with child() as writer:
        writer.call(write_half_plus_two, path)

    compile_models({MODEL: path / "1"}, folder / "cache")


async def _campaign(case: Case, folder: Path, jobs: int, kills: int) -> Outcome:
    chance = random.Random(case.name)
    moments = sorted(chance.sample(range(5, jobs), kills))
    started = time.monotonic()

    async with AsyncExitStack() as stack:
        store = stack.enter_context(_store(case, folder))
        flags = ("--workers", str(case.workers), "--log-level", "warning", *store)
        servers = [_Restarted(folder, flags) for _ in range(case.servers)]

        for each in servers:
            stack.callback(each.kill)
            await each.start()

        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=each.url, timeout=CLIENT_SECONDS)
            )
            for each in servers
        ]
        ids: dict[int, str] = {}

        async with anyio.create_task_group() as tasks:
            async for number, id in _accepted(clients, jobs, tasks):
                ids[number] = id

                if len(ids) in moments:
                    await anyio.sleep(chance.uniform(0, LATEST_SECONDS))
                    servers[0].kill()

                    if case.servers == 1 or len(ids) < moments[-1]:
                        await servers[0].start()

        found = await _look(clients[-1], ids)

    return Outcome(case=case, kills=kills, seconds=time.monotonic() - started, **found)


class _Restarted:
    """A server process on a port that it has again after a kill."""

    def __init__(self, folder: Path, flags: Sequence[str]) -> None:
        self._port = free_port()
        self._log = folder / f"server-{self._port}.log"
        self._command = tandem(folder / "models", folder / "cache", self._port, *flags)
        self._stack = ExitStack()
        self._server: Server | None = None
        self.url = f"http://{HOST}:{self._port}"

    async def start(self) -> None:
        """Start it, and wait until it is ready."""
        self._server = self._stack.enter_context(
            serving(self._command, self._port, self._log)
        )
        await anyio.to_thread.run_sync(self._server.wait_ready)

    def kill(self) -> None:
        """Kill it with all its workers; they are in a session of their own."""
        if self._server is not None:
            os.killpg(self._server.process.pid, signal.SIGKILL)
            self._server.process.wait()
            self._stack.close()
            self._server = None


@contextmanager
def _store(case: Case, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the flags for a store of jobs."""
    place = folder / case.name

    if case.store == "SQLite":
        yield "--data-dir", str(place)
        return

    place.mkdir()
    redis = RedisServer(place)
    redis.start()

    try:
        yield "--redis", redis.url
    finally:
        redis.kill()


async def _accepted(
    clients: Sequence[httpx.AsyncClient], jobs: int, tasks: TaskGroup
) -> AsyncIterator[tuple[int, str]]:
    """Submit jobs; yield the number and id of each that is accepted.

    While nobody takes them, `AHEAD` more are accepted at most.
    """
    send, accepted = anyio.create_memory_object_stream[tuple[int, str]](AHEAD)

    async with send, accepted:
        for first in range(SUBMITTERS):
            numbers = range(first, jobs, SUBMITTERS)
            tasks.start_soon(_submit_all, clients, numbers, send)

        for _ in range(jobs):
            yield await accepted.receive()


async def _submit_all(
    clients: Sequence[httpx.AsyncClient],
    numbers: Sequence[int],
    accepted: MemoryObjectSendStream[tuple[int, str]],
) -> None:
    for number in numbers:
        # As a load balancer does, another server is asked where one is gone.
        for client in itertools.cycle(clients):
            id = await _submit(client, number)

            if id is not None:
                await accepted.send((number, id))
                break

            await anyio.sleep(POLL_SECONDS)


async def _submit(client: httpx.AsyncClient, number: int) -> str | None:
    """Return the job's id, `None` if there was no 202."""
    try:
        response = await client.post(
            PREDICT,
            json={"instances": [float(number)]},
            headers={"Prefer": "respond-async", "Idempotency-Key": f"job {number}"},
        )
    except httpx.TransportError:
        return None

    if response.status_code != httpx.codes.ACCEPTED:
        return None

    id: str = response.json()["id"]
    return id


async def _look(client: httpx.AsyncClient, ids: dict[int, str]) -> dict[str, int]:
    """Return what became of the jobs, by field of `Outcome`."""
    answers = {number: await _answer(client, id) for number, id in ids.items()}
    response = await client.get("/v1/jobs", params={"limit": 1000})
    listed: list[dict[str, Any]] = response.json()["jobs"]
    succeeded = {job["id"] for job in listed if job["status"] == "succeeded"}
    return {
        "jobs": len(ids),
        "again": sum(job["attempts"] > 1 for job in listed),
        "lost": len(set(ids.values()) - succeeded),
        "wrong": sum(
            answer != {"predictions": [number * 0.5 + 2]}
            for number, answer in answers.items()
        ),
        "twice": len(ids) - len(set(ids.values())) + max(0, len(listed) - len(ids)),
    }


async def _answer(client: httpx.AsyncClient, id: str) -> Any:
    """Return a job's result; its error if it has none within the client's time."""
    ends = time.monotonic() + CLIENT_SECONDS
    headers = {"Prefer": "wait=30"}

    while True:
        response = await client.get(f"/v1/jobs/{id}/result", headers=headers)

        if response.status_code != httpx.codes.ACCEPTED or time.monotonic() > ends:
            return response.json()


def _figures(outcome: Outcome) -> list[Figure]:
    name = outcome.case.name
    return [
        at_most(0, f"{name}: jobs lost", outcome.lost),
        at_most(0, f"{name}: wrong answers", outcome.wrong),
        at_most(0, f"{name}: jobs that are there twice", outcome.twice),
    ]


def _row(outcome: Outcome) -> tuple[str | float, ...]:
    return (
        *(outcome.case.name, outcome.jobs, outcome.kills, outcome.again),
        *(outcome.lost, outcome.wrong, outcome.twice, round(outcome.seconds)),
    )
