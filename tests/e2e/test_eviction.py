"""Four models with memory for two: requests load one and evict another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import httpx
import pytest

from tests.e2e.conftest import BUDGET, LARGE
from tests.e2e.processes import ready
from tests.e2e.sites import Client, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.sites import Site

STORM = 100

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def tight(
    stock: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Run a server with memory for two of the large models, without a token."""
    root = tmp_path_factory.mktemp("tight")

    with site(root, stock, cache, "--memory-budget", str(BUDGET)) as tight:
        for name in LARGE:
            tight.bring(name, f"{name}.pb")

        yield tight


@pytest.fixture
async def client(tight: Site) -> AsyncIterator[Client]:
    limits = httpx.Limits(max_connections=STORM)

    async with Client(base_url=tight.server.url, timeout=120, limits=limits) as client:
        await ready(client)

        for name in LARGE:
            await client.serves(name)

        yield client


async def test_answers_are_right_during_evictions(client: Client) -> None:
    before = await client.metrics()
    memory: list[float] = []

    async def ask(name: str) -> None:
        for _ in range(6):
            assert await client.factor(name) == pytest.approx(LARGE[name])

    async def watch() -> None:
        while True:
            memory.append(await client.metric("tandem_models_memory_bytes"))
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)

        async with anyio.create_task_group() as asking:
            for name in LARGE:
                asking.start_soon(ask, name)

        tasks.cancel_scope.cancel()

    after = await client.metrics()
    assert max(memory) <= BUDGET
    assert after["tandem_models_memory_budget_bytes"] == BUDGET

    for name in ("tandem_model_evictions_total", "tandem_model_reloads_total"):
        assert after[name] > before[name]


async def test_concurrent_requests_load_an_evicted_model_once(client: Client) -> None:
    *others, name = LARGE

    for other in others[-2:]:
        await client.factor(other)

    assert (await client.version(name))["memory_bytes"] == 0
    before = await client.metric("tandem_model_loads_total")
    answers: list[float] = []

    async def ask() -> None:
        answers.append(await client.factor(name))

    async with anyio.create_task_group() as tasks:
        for _ in range(STORM):
            tasks.start_soon(ask)

    assert answers == [pytest.approx(LARGE[name])] * STORM
    assert await client.metric("tandem_model_loads_total") == before + 1


async def test_a_model_over_the_budget_is_refused_with_both_numbers(
    client: Client, tight: Site
) -> None:
    tight.bring("huge", "huge.pb")

    refused = await client.until("huge", state="END")

    assert f"{BUDGET / 2**20:,.1f} MiB" in refused["error"]
    assert "--memory-budget" in refused["error"]
    assert (await client.ask("huge")).status_code == 503
    assert await client.factor("large_1") == pytest.approx(LARGE["large_1"])


async def test_without_a_token_there_are_no_admin_calls(client: Client) -> None:
    for path in ("models/large_1/unload", "rescan"):
        answer = await client.admin("POST", path)
        assert answer.status_code == 404
        assert "--admin-token-file" in answer.json()["error"]

    assert "/v1/admin" not in (await client.get("/")).text
