"""Servers that share their jobs through Redis, and what ends one of them."""

from __future__ import annotations

import itertools
import shutil
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import pytest
from redis.asyncio import Redis

from tests.e2e.processes import PATIENCE_SECONDS, TANDEM, free_port, ready, running
from tests.support.redis_servers import running_redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.processes import Server
    from tests.support.redis_servers import RedisServer

PREDICT = "/v1/models/double:predict"
FACTOR = 2
JOBS = 40

pytestmark = pytest.mark.timeout(2 * PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def redis(root: Path) -> Iterator[RedisServer]:
    with running_redis(root / "redis") as server:
        yield server


@pytest.fixture(scope="module")
def models(stock: Path, root: Path) -> Path:
    folder = root / "models"
    folder.mkdir()
    shutil.copy(stock / "two.pb", folder / "double.pb")
    return folder


@contextmanager
def server(models: Path, cache: Path, redis: RedisServer) -> Iterator[Server]:
    port = free_port()
    command = [
        *(*TANDEM, "serve", str(models), "--port", str(port), "--no-screen"),
        *("--cache-dir", str(cache), "--redis", redis.url),
    ]

    with running(command, port, models.parent / f"{port}.log") as started:
        yield started


@pytest.fixture(scope="module")
def staying(models: Path, cache: Path, redis: RedisServer) -> Iterator[Server]:
    """The server that all tests ask, and that sees others end."""
    with server(models, cache, redis) as staying:
        yield staying


def client_of(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_SECONDS)


async def submit(client: httpx.AsyncClient, number: int, of: str) -> httpx.Response:
    """Submit a test's job; `of` tells the tests apart."""
    return await client.post(
        PREDICT,
        json={"instances": [float(number)]},
        headers={"Prefer": "respond-async", "Idempotency-Key": f"{of} {number}"},
    )


async def check_results(client: httpx.AsyncClient, accepted: dict[int, str]) -> None:
    for number, id in accepted.items():
        response = await client.get(
            f"/v1/jobs/{id}/result", headers={"Prefer": "wait=60"}
        )
        assert response.status_code == 200, response.text
        assert response.json() == {"predictions": [FACTOR * float(number)]}


async def end_at_work(redis: Redis, server: Server, end: signal.Signals) -> None:
    """Send a server its last signal while it runs a job."""
    while True:
        server.process.send_signal(signal.SIGSTOP)

        if await held(redis, server):
            server.process.send_signal(end)
            server.process.send_signal(signal.SIGCONT)
            await anyio.to_thread.run_sync(server.process.wait)
            return

        server.process.send_signal(signal.SIGCONT)
        await anyio.sleep(0.01)


async def end_leases(redis: Redis, server: Server) -> None:
    """End the leases of a killed server, which would last for half a minute."""
    own = f":{server.process.pid}".encode()
    running: Any = await redis.zrange("tandem:leases", 0, -1)

    for id in running:
        worker: Any = await redis.hget(f"tandem:job:{id.decode()}", "worker")

        # The other server may have ended its own jobs meanwhile.
        if worker is not None and worker.endswith(own):
            await redis.zadd("tandem:leases", {id: 0}, xx=True)


async def held(redis: Redis, server: Server) -> int:
    """Return how many jobs a server has claimed and not ended."""
    consumers = await redis.xinfo_consumers("tandem:queue", "servers")
    own = f":{server.process.pid}".encode()
    return sum(each["pending"] for each in consumers if each["name"].endswith(own))


@pytest.mark.parametrize(
    ("end", "attempts"),
    [
        pytest.param(signal.SIGKILL, 2, id="killed"),
        # It gives back what it runs, which then was not begun.
        pytest.param(signal.SIGTERM, 1, id="stopped"),
    ],
)
async def test_another_server_finishes_the_jobs_of_one_that_ends(
    models: Path,
    cache: Path,
    redis: RedisServer,
    staying: Server,
    end: signal.Signals,
    attempts: int,
) -> None:
    accepted: dict[int, str] = {}
    many = anyio.Event()

    async def submit_all(first: int, *clients: httpx.AsyncClient) -> None:
        for number in range(first, JOBS, 2):
            accepted[number] = await submit_to_any(number, end.name, *clients)

            if len(accepted) >= JOBS // 4:
                many.set()

    with server(models, cache, redis) as ending:
        async with client_of(ending) as one, client_of(staying) as other:
            await ready(one)
            await ready(other)

            async with (
                anyio.create_task_group() as tasks,
                Redis.from_url(redis.url) as looking,
            ):
                tasks.start_soon(submit_all, 0, one, other)
                tasks.start_soon(submit_all, 1, other)
                await many.wait()
                await end_at_work(looking, ending, end)
                await end_leases(looking, ending)

            await check_results(other, accepted)
            answer = await other.get("/v1/jobs?status=succeeded&limit=1000")
            own = set(accepted.values())
            jobs = [job for job in answer.json()["jobs"] if job["id"] in own]
            assert len(jobs) == len(own) == len(accepted) == JOBS
            assert max(job["attempts"] for job in jobs) == attempts


async def submit_to_any(number: int, of: str, *clients: httpx.AsyncClient) -> str:
    """Submit a job until a server takes it, as a client of a load balancer does."""
    for client in itertools.cycle(clients):
        try:
            response = await submit(client, number, of)
        except httpx.TransportError:
            continue

        if response.status_code != 503:
            break

    assert response.status_code == 202, response.text
    id: str = response.json()["id"]
    return id


async def test_redis_may_be_away_while_jobs_are_submitted(
    redis: RedisServer, staying: Server
) -> None:
    accepted: dict[int, str] = {}
    many, refused = anyio.Event(), anyio.Event()
    sync_calls = 0

    async def submit_all(client: httpx.AsyncClient, first: int) -> None:
        for number in range(first, JOBS, 4):
            while (response := await submit(client, number, "away")).status_code == 503:
                assert response.headers["Retry-After"]
                refused.set()
                await anyio.sleep(0.05)

            assert response.status_code == 202, response.text
            accepted[number] = response.json()["id"]

            if len(accepted) >= JOBS // 4:
                many.set()

    async def call_on(client: httpx.AsyncClient) -> None:
        nonlocal sync_calls

        while True:
            response = await client.post(PREDICT, json={"instances": [4.0]})
            assert response.status_code == 200, response.text
            assert response.json() == {"predictions": [8.0]}
            sync_calls += 1
            # Else the client takes a CPU, and jobs give way to its calls.
            await anyio.sleep(0.01)

    async with client_of(staying) as client, anyio.create_task_group() as calls:
        await ready(client)
        calls.start_soon(call_on, client)

        async with anyio.create_task_group() as tasks:
            for first in range(4):
                tasks.start_soon(submit_all, client, first)

            await many.wait()
            redis.kill()
            await refused.wait()
            before = sync_calls

            while sync_calls < before + 20:
                await anyio.sleep(0.01)

            assert (await submit(client, JOBS, "away")).status_code == 503
            await anyio.to_thread.run_sync(redis.start)

        await check_results(client, accepted)
        assert len(set(accepted.values())) == JOBS
        calls.cancel_scope.cancel()
