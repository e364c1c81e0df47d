"""Jobs that are submitted while servers are killed: each ends right, and once."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx

from benchmarks.harness.children import child
from benchmarks.harness.models import compile_models
from benchmarks.harness.report import Report, Table, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import free_port, serving, tandem
from demo.half_plus_two import write_half_plus_two
from tests.support.redis_servers import PROGRAM, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from benchmarks.harness.servers import Server

MODEL = "half_plus_two"
PREDICT = f"/v1/models/{MODEL}:predict"
SUBMITTERS = 4
AHEAD = 10
"""Jobs that may be accepted past the number at which the next kill comes."""
LATEST_SECONDS = 0.02
POLL_SECONDS = 0.005
CLIENT_SECONDS = 90.0
COLUMNS = (
    *("store", "servers", "jobs", "kills", "run again", "lost", "wrong", "twice"),
    "seconds",
)
INTRODUCTION = """\
{jobs} jobs are submitted by {submitters} clients, each with an `Idempotency-Key`, while
a server and its workers are killed by SIGKILL {kills} times, at random moments, and
started again. Of two servers on Redis the last kill of one is for good. Every job that
got a 202 must then succeed, with the right answer, and be there once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Servers that share a store; the first of them is killed."""

    store: str
    servers: int = 1
    workers: int = 1

    @property
    def name(self) -> str:
        return f"{self.store}, {self.servers}×{self.workers}"


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


class Accepted:
    """Ids of accepted jobs by their number; no more than `limit` for now."""

    def __init__(self, limit: int) -> None:
        self.ids: dict[int, str] = {}
        self._limit = limit
        self._changed = anyio.Condition()

    async def add(self, number: int, id: str) -> None:
        async with self._changed:
            self.ids[number] = id
            self._changed.notify_all()

    async def allow(self, limit: int) -> None:
        async with self._changed:
            self._limit = limit
            self._changed.notify_all()

    async def below_limit(self) -> None:
        async with self._changed:
            while len(self.ids) >= self._limit:
                await self._changed.wait()

    async def reached(self, count: int) -> None:
        async with self._changed:
            while len(self.ids) < count:
                await self._changed.wait()


def measure(run: Run) -> Report:
    """Kill servers while they accept and run jobs; look for what is amiss."""
    jobs, kills = (40, 2) if run.quick else (200, 10)
    flags = _flags(run.folder)
    outcomes, notes = [], []

    for case in CASES:
        if case.store == "Redis" and shutil.which(PROGRAM) is None:
            notes.append(f"Redis is left out: there is no {PROGRAM}")
            continue

        folder = run.subfolder(case.name)
        outcome = anyio.run(partial(_campaign, case, folder, flags, jobs, kills))
        say(f"{case.name}: {outcome.lost} lost, {outcome.wrong} wrong")
        outcomes.append(outcome)

    return Report(
        title="Jobs, and servers that are killed",
        introduction=INTRODUCTION.format(jobs=jobs, submitters=SUBMITTERS, kills=kills),
        figures=[figure for outcome in outcomes for figure in _figures(outcome)],
        tables=[Table(title="Outcomes", columns=COLUMNS, rows=[*map(_row, outcomes)])],
        notes=notes,
        raw=outcomes,
    )


def _flags(folder: Path) -> list[Path]:
    """Make the model, compiled; return its repository and the cache."""
    repository, cache = folder / "models", folder / "cache"

    with child() as writer:
        writer.call(write_half_plus_two, repository / MODEL)

    compile_models({MODEL: repository / MODEL / "1"}, cache)
    return [repository, cache]


async def _campaign(
    case: Case, folder: Path, flags: Sequence[Path], jobs: int, kills: int
) -> Outcome:
    chance = random.Random(case.name)
    moments = sorted(chance.sample(range(5, jobs), kills))
    accepted = Accepted(limit=moments[0] + AHEAD)
    started = time.monotonic()

    with ExitStack() as stack:
        store = stack.enter_context(_store(case, folder))
        servers = [
            _Restarted(folder, flags, store, case, n) for n in range(case.servers)
        ]
        clients = [
            httpx.AsyncClient(base_url=one.url, timeout=CLIENT_SECONDS)
            for one in servers
        ]

        for one in servers:
            stack.callback(one.kill)
            one.start()
            await one.ready()

        async with anyio.create_task_group() as tasks:
            for first in range(SUBMITTERS):
                numbers = range(first, jobs, SUBMITTERS)
                tasks.start_soon(_submit_all, clients, numbers, accepted)

            for kill, moment in enumerate(moments):
                await accepted.reached(moment)
                await anyio.sleep(chance.uniform(0, LATEST_SECONDS))
                servers[0].kill()
                await accepted.allow([*moments, jobs][kill + 1] + AHEAD)

                if case.servers == 1 or kill < kills - 1:
                    servers[0].start()
                    await servers[0].ready()

        return await _look(case, clients[-1], accepted.ids, kills, started)


class _Restarted:
    """A server process on a port that it has again after a kill."""

    def __init__(
        self, folder: Path, flags: Sequence[Path], store: list[str], case: Case, n: int
    ) -> None:
        self._port = free_port()
        self._log = folder / f"server-{n}.log"
        repository, cache = flags
        self._command = tandem(
            repository,
            cache,
            self._port,
            *("--workers", str(case.workers), "--log-level", "warning", *store),
        )
        self._stack = ExitStack()
        self._server: Server | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._server = self._stack.enter_context(
            serving(self._command, self._port, self._log)
        )

    def kill(self) -> None:
        """Kill it with all its workers; they are in a session of their own."""
        if self._server is not None:
            os.killpg(self._server.process.pid, signal.SIGKILL)
            self._server.process.wait()
            self._stack.close()
            self._server = None

    async def ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url) as client:
            with anyio.fail_after(CLIENT_SECONDS):
                while True:
                    with suppress(httpx.TransportError):
                        if (await client.get("/readyz")).is_success:
                            return

                    await anyio.sleep(POLL_SECONDS)


@contextmanager
def _store(case: Case, folder: Path) -> Iterator[list[str]]:
    """Yield the flags for a store of jobs."""
    if case.store == "SQLite":
        yield ["--data-dir", str(folder / "jobs")]
        return

    (folder / "redis").mkdir()
    redis = RedisServer(folder / "redis")
    redis.start()

    try:
        yield ["--redis", redis.url]
    finally:
        redis.kill()


async def _submit_all(
    clients: Sequence[httpx.AsyncClient], numbers: Sequence[int], accepted: Accepted
) -> None:
    for number in numbers:
        await accepted.below_limit()

        # As a load balancer does, another server is asked where one is gone.
        for client in itertools.cycle(clients):
            id = await _submit(client, number)

            if id is not None:
                await accepted.add(number, id)
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


async def _look(
    case: Case,
    client: httpx.AsyncClient,
    ids: dict[int, str],
    kills: int,
    started: float,
) -> Outcome:
    answers = {number: await _answer(client, id) for number, id in ids.items()}
    listed: list[dict[str, Any]] = (
        await client.get("/v1/jobs", params={"limit": 1000})
    ).json()["jobs"]
    succeeded = {job["id"] for job in listed if job["status"] == "succeeded"}
    return Outcome(
        case=case,
        jobs=len(ids),
        kills=kills,
        again=sum(job["attempts"] > 1 for job in listed),
        lost=len(set(ids.values()) - succeeded),
        wrong=sum(
            answer != {"predictions": [number * 0.5 + 2]}
            for number, answer in answers.items()
        ),
        twice=len(ids) - len(set(ids.values())) + max(0, len(listed) - len(ids)),
        seconds=time.monotonic() - started,
    )


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


def _row(outcome: Outcome) -> tuple[str, ...]:
    case = outcome.case
    servers = f"{case.servers} with {case.workers} workers"
    return (
        *(case.store, servers, str(outcome.jobs), str(outcome.kills)),
        *(str(outcome.again), str(outcome.lost), str(outcome.wrong)),
        *(str(outcome.twice), f"{outcome.seconds:.0f}"),
    )
