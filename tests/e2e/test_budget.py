"""Ten models under load, with memory for three."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from benchmarks.harness.client import run_requests
from benchmarks.harness.memory import sampling
from benchmarks.harness.models import Wide
from tests.e2e.processes import TANDEM, free_port, ready, running

if TYPE_CHECKING:
    from pathlib import Path

SMALL, LARGE = Wide(units=1, seed=0), Wide(units=2236, seed=1)
BUDGET = int(3.9 * LARGE.bytes)
NAMES = [f"wide{number}" for number in range(10)]
EVICTIONS = "tandem_model_evictions_total"
REQUESTS, CONNECTIONS = 100, 8

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
    pytest.mark.timeout(300),
]


async def test_the_process_grows_by_no_more_than_the_budget(tmp_path: Path) -> None:
    repository, port = tmp_path / "models", free_port()
    repository.mkdir()
    SMALL.write_graph(repository / "tiny.pb")
    LARGE.write_graph(tmp_path / "wide.pb")
    command = [*TANDEM, "serve", str(repository), "--port", str(port)]
    command += ["--cache-dir", str(tmp_path / "cache"), "--scan-seconds", "0.2"]
    command += ["--memory-budget", str(BUDGET), "--log-level", "warning"]
    # Measured values would depend on the machine.
    command += ["--concurrency", "2", "--intra-op-threads", "1"]

    with running(command, port, tmp_path / "log") as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            await ready(client)
            await ask(port, ["tiny"], SMALL)

            with sampling(server.process.pid) as samples:
                for name in NAMES:
                    # Equal files, so that they are compiled once.
                    (repository / f"{name}.pb").hardlink_to(tmp_path / "wide.pb")

                await available(client)
                await ask(port, NAMES, LARGE)

            text = (await client.get("/metrics")).text

    assert evictions(text) > 2 * len(NAMES)
    assert 2 * LARGE.bytes < samples.growth <= BUDGET


def evictions(text: str) -> float:
    [line] = [line for line in text.splitlines() if line.startswith(EVICTIONS + " ")]
    return float(line.split()[1])


async def ask(port: int, names: list[str], model: Wide) -> None:
    """Ask all models in random order; every answer must be right."""
    exchanges = [one for name in names for one in model.exchanges(name)]
    tally = await run_requests(
        port,
        random.Random(model.seed).choices(exchanges, k=REQUESTS),
        requests=REQUESTS,
        connections=CONNECTIONS,
    )
    assert tally.statuses == {200: REQUESTS}
    assert (tally.wrong, tally.resets) == (0, 0)


async def available(client: httpx.AsyncClient) -> None:
    states: list[str] = []

    while states != ["AVAILABLE"] * (len(NAMES) + 1):
        found = (await client.get("/v1/models")).json()["models"]
        states = [each["state"] for model in found for each in model["versions"]]
        await anyio.sleep(0.1)
