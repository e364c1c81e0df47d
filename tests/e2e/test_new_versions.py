"""A new version replaces the one before only once it answers."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.e2e.conftest import LARGE
from tests.e2e.processes import PATIENCE_SECONDS
from tests.e2e.sites import SCAN_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.sites import Client, Site

pytestmark = pytest.mark.timeout(300)


ASKING = 4
"""Tasks that ask one model at a time."""


@asynccontextmanager
async def asking(client: Client, name: str) -> AsyncIterator[list[float]]:
    """Ask from several tasks; every answer must be one."""
    factors: list[float] = []

    async def ask() -> None:
        while True:
            factors.append(await client.factor(name))
            # Leave some time to the compiler, which has the lowest priority.
            await anyio.sleep(0.02)

    async with anyio.create_task_group() as tasks:
        for _ in range(ASKING):
            tasks.start_soon(ask)

        yield factors
        tasks.cancel_scope.cancel()


async def test_a_new_version_replaces_the_old_one(client: Client, living: Site) -> None:
    living.version("one", "new", 1)
    await client.serves("new", 1)

    async with asking(client, "new") as factors:
        living.version("two", "new", 2)
        await client.serves("new", 2)
        await client.gone("new", 1)

        # On a busy machine the next answer may take its time.
        with anyio.fail_after(PATIENCE_SECONDS):
            while 2.0 not in factors:
                await anyio.sleep(0.02)

    # The others may each have one answer of the old version on the way.
    assert factors[factors.index(2.0) :].count(1.0) < ASKING
    assert set(factors) == {1.0, 2.0}
    assert await client.factor("new") == 2.0
    assert (await client.ask("new", place="/versions/1")).status_code == 404
    [ended] = living.events("model unloaded", "new")
    assert ended["version"] == 1


async def test_a_new_version_must_answer_its_recorded_requests_first(
    client: Client, living: Site
) -> None:
    living.version("one", "warm", 1)
    await client.serves("warm", 1)
    hidden = living.bring("two", "warm/.2/model.pb").parent
    recorded = hidden / "warmup.jsonl"
    recorded.write_text('{"instances": [1.0]}\n{"instances": ["text"]}\n')
    hidden.rename(hidden.with_name("2"))

    failed = await client.until("warm", 2, state="END")

    assert "warmup.jsonl, line 2" in failed["error"]
    assert await client.factor("warm") == 1.0
    assert {each["version"] for each in living.events("model loaded", "warm")} == {1}

    (living.folder / "warm/2/warmup.jsonl").write_text('{"instances": [1.0]}\n')
    await client.serves("warm", 2)
    assert await client.factor("warm") == 2.0


async def test_a_broken_version_is_reported_and_the_old_one_serves(
    client: Client, living: Site
) -> None:
    living.version("one", "break", 1)
    await client.serves("break", 1)

    async with asking(client, "break") as factors:
        broken = living.version("two", "break", 2)
        broken.write_bytes(b"not a model")
        failed = await client.until("break", 2, state="END")

    status = (await client.get("/v1/models/break")).json()["model_version_status"]
    assert set(factors) == {1.0}
    assert "model.pb" in failed["error"]
    assert [each["version"] for each in status] == ["2", "1"]
    assert [each["state"] for each in status] == ["END", "AVAILABLE"]
    assert status[0]["status"]["error_message"] == failed["error"]
    assert await client.metric("tandem_model_failed", "break", 2) == 1
    assert await client.metric("tandem_model_failed", "break", 1) == 0
    refused = await client.ask("break", place="/versions/2")
    assert refused.status_code == 503
    assert failed["error"] in refused.json()["error"]
    assert (await client.get("/readyz")).status_code == 200

    # Its files change, so it is retried.
    living.bring("three", "break/2/model.pb")
    await client.serves("break", 2)
    assert await client.factor("break") == 3.0
    assert await client.metric("tandem_model_failed", "break", 2) == 0


async def test_a_half_copied_version_is_never_loaded(
    client: Client, living: Site, stock: Path
) -> None:
    living.version("one", "half", 1)
    await client.serves("half", 1)
    content = (stock / "large_1.pb").read_bytes()
    half = len(content) // 2
    number = 2

    # If this process itself was held up, the file looked complete to the server.
    while await grow(client, living, number, content[:half]) > float(SCAN_SECONDS):
        number += 1

    assert not begun(living, "half", number)

    with (living.folder / f"half/{number}/model.pb").open("ab") as file:
        file.write(content[half:])

    await client.serves("half", number)
    assert await client.factor("half") == pytest.approx(LARGE["large_1"])
    assert not begun_to_fail(living, "half", number)


async def grow(client: Client, living: Site, number: int, content: bytes) -> float:
    """Write a version's file bit by bit over eight scans; return the longest pause."""
    target = living.folder / f"half/{number}/model.pb"
    target.parent.mkdir()
    steps = 30 * 8
    size = len(content) // steps + 1
    longest, before = 0.0, anyio.current_time()

    with target.open("wb", buffering=0) as file:
        for step in range(steps):
            file.write(content[step * size : (step + 1) * size])
            now = anyio.current_time()
            longest, before = max(longest, now - before), now
            await anyio.sleep(0.01)

    assert await client.factor("half") == 1.0
    return longest


def begun(living: Site, name: str, version: int) -> bool:
    events = living.events("model loading", name)
    return any(event["version"] == version for event in events)


def begun_to_fail(living: Site, name: str, version: int) -> bool:
    events = living.events("model failed to load", name)
    return any(event["version"] == version for event in events)


async def test_checksums_are_verified(client: Client, living: Site) -> None:
    path = living.version("one", "sums", 1)
    unverified = await client.serves("sums", 1)
    sums = path.with_name("SHA256SUMS")
    right = hashlib.sha256(path.read_bytes()).hexdigest()

    sums.write_text(f"{right}  model.pb\n")
    verified = await client.until("sums", 1, integrity="verified")

    sums.write_text(f"{right[::-1]}  model.pb\n")
    await client.eventually(
        lambda models: models["sums"][1]["update_error"] is not None
    )
    mismatch = await client.version("sums", 1)

    assert (unverified["integrity"], verified["integrity"]) == (
        "unverified",
        "verified",
    )
    assert "model.pb isn't what SHA256SUMS says" in mismatch["update_error"]
    assert await client.factor("sums") == 1.0
    assert await client.metric("tandem_model_update_failed", "sums", 1) == 1
