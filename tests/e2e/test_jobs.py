"""Jobs outlive the server that accepted them, however it ends."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from tests.e2e.processes import (
    PATIENCE_SECONDS,
    TANDEM,
    first_answer,
    free_port,
    ready,
    run_tandem,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.processes import Server

JOBS = 30
KILLS = 2
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


async def submit(client: httpx.AsyncClient, number: int) -> str | None:
    """Return the job's id, or `None` if the server died first."""
    try:
        response = await client.post(
            "/v1/models/double:predict",
            json={"instances": [float(number)]},
            headers={"Prefer": "respond-async", "Idempotency-Key": f"job {number}"},
        )
    except httpx.TransportError:
        return None

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


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_every_accepted_job_is_finished_though_the_server_is_killed(
    models: Path, cache: Path, workers: str
) -> None:
    port, chance = free_port(), random.Random(11)
    kills = sorted(chance.sample(range(5, JOBS), KILLS))
    accepted: dict[int, str] = {}
    url = f"http://127.0.0.1:{port}"

    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
        while len(accepted) < JOBS:
            with server(models, cache, port, "--workers", workers):
                await ready(client)

                for number in range(JOBS):
                    if number in accepted:
                        continue

                    id = await submit(client, number)

                    if id is not None:
                        accepted[number] = id

                    if kills and len(accepted) >= kills[0]:
                        # Leaving the block kills it: SIGKILL, jobs and all.
                        kills.pop(0)
                        break

            end_leases(models)

        with server(models, cache, port, "--workers", workers):
            await ready(client)

            for number, id in accepted.items():
                assert await result(client, id) == {
                    "predictions": [FACTOR * float(number)]
                }

            job = (await client.get(f"/v1/jobs/{accepted[0]}")).json()
            assert job["status"] == "succeeded"
            assert len(set(accepted.values())) == JOBS


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
                assert id is not None
                assert await result(client, id) == {
                    "predictions": [FACTOR * float(number)]
                }


async def test_jobs_are_seen_and_fetched_from_the_command_line(
    models: Path, cache: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    with server(models, cache, port):
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
            await ready(client)
            id = await submit(client, 21)

        assert id is not None
        fetched = run_tandem("jobs", "result", id, "--server", url)
        listed = run_tandem("jobs", "list", "--status", "succeeded", "--server", url)

    assert json.loads(fetched.stdout) == {"predictions": [42.0]}, fetched.stderr
    assert id in listed.stdout, listed.stderr


async def test_a_file_of_rows_goes_through_a_model_and_back(
    models: Path, cache: Path, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    source, target = tmp_path / "rows.npy", tmp_path / "out.npy"
    rows = np.arange(10_000, dtype=np.float32)
    np.save(source, rows)

    with server(models, cache, port):
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as client:
            await ready(client)

        done = run_tandem(
            *("predict", "double", "--server", url),
            *("--input", str(source), "--output", str(target)),
        )

    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(target), rows * FACTOR)


def test_a_file_of_rows_goes_through_a_model_without_a_server(
    models: Path, cache: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "rows.npy", tmp_path / "out.npy"
    rows = np.arange(10_000, dtype=np.float64)
    np.save(source, rows)

    done = run_tandem(
        *("predict", str(models / "double.pb"), "--cache-dir", str(cache)),
        *("--input", str(source), "--output", str(target)),
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_array_equal(np.load(target), rows * FACTOR)
    assert np.load(target).dtype == np.float32
