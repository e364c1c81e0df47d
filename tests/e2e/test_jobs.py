"""Jobs outlive the server that accepted them, however it ends."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.e2e.processes import (
    PATIENCE_SECONDS,
    TANDEM,
    first_answer,
    free_port,
    ready,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.processes import Server

JOBS = 30
FACTOR = 2

pytestmark = pytest.mark.timeout(2 * PATIENCE_SECONDS)


@pytest.fixture
def models(stock: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(stock / "two.pb", folder / "double.pb")
    return folder


@contextmanager
def server(models: Path, cache: Path, port: int, *args: str) -> Iterator[Server]:
    command = [
        *(*TANDEM, "serve", str(models), "--port", str(port), "--no-screen"),
        *("--cache-dir", str(cache), "--data-dir", str(models.parent / "jobs")),
        *args,
    ]

    with running(command, port, models.parent / f"{port}.log") as started:
        yield started


async def submit(client: httpx.AsyncClient, number: int) -> str:
    response = await client.post(
        "/v1/models/double:predict",
        json={"instances": [float(number)]},
        headers={"Prefer": "respond-async", "Idempotency-Key": f"job {number}"},
    )
    assert response.status_code == 202, response.text
    id: str = response.json()["id"]
    return id


async def result(client: httpx.AsyncClient, id: str) -> Any:
    response = await client.get(f"/v1/jobs/{id}/result", headers={"Prefer": "wait=60"})
    assert response.status_code == 200, response.text
    return response.json()


def end_leases(models: Path) -> None:
    """End the leases of a killed server, which would last for half a minute."""
    path = models.parent / "jobs" / "jobs.sqlite3"

    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "UPDATE jobs SET leased_until = 0 WHERE leased_until IS NOT NULL"
        )


@pytest.mark.parametrize(("workers", "kills"), [("1", 2), ("2", 1)])
async def test_every_accepted_job_is_finished_though_the_server_is_killed(
    models: Path, cache: Path, workers: str, kills: int
) -> None:
    port, chance = free_port(), random.Random(11)
    accepted: dict[int, str] = {}
    url = f"http://127.0.0.1:{port}"

    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
        for count in sorted(chance.sample(range(5, JOBS), kills)):
            with server(models, cache, port, "--workers", workers):
                await ready(client)
                # Leaving the block kills it: SIGKILL, jobs and all.
                await submit_until(client, accepted, count)

            end_leases(models)

        with server(models, cache, port, "--workers", workers):
            await ready(client)
            await submit_until(client, accepted, JOBS)

            for number, id in accepted.items():
                assert await result(client, id) == {
                    "predictions": [FACTOR * float(number)]
                }

            job = (await client.get(f"/v1/jobs/{accepted[0]}")).json()
            assert job["status"] == "succeeded"
            assert len(set(accepted.values())) == JOBS


async def submit_until(
    client: httpx.AsyncClient, accepted: dict[int, str], count: int
) -> None:
    """Submit jobs by their numbers until so many are accepted."""
    for number in range(len(accepted), count):
        accepted[number] = await submit(client, number)


async def test_a_server_that_is_stopped_gives_its_jobs_back(
    models: Path, cache: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
        with server(models, cache, port, "--job-concurrency", "0") as first:
            await ready(client)
            ids = [await submit(client, number) for number in range(5)]
            first.stop()

        with server(models, cache, port):
            await first_answer(client, "/livez")
            await ready(client)

            for number, id in enumerate(ids):
                assert await result(client, id) == {
                    "predictions": [FACTOR * float(number)]
                }
