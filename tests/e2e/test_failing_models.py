"""Failing models report why, back off, and don't affect others."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.e2e.scales import write_scale
from tests.e2e.sites import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.sites import Client, Site

REQUESTS = 50

pytestmark = pytest.mark.timeout(300)


async def test_a_refused_model_is_not_compiled_at_every_request(
    client: Client, living: Site
) -> None:
    path = living.folder / "refused.h5"
    path.write_bytes(b"not a model")
    failed = await client.until("refused", state="END")
    before = await client.metric("tandem_model_load_failures_total")

    answers = [await client.ask("refused") for _ in range(REQUESTS)]

    assert {answer.status_code for answer in answers} == {503}
    assert all(failed["error"] in answer.json()["error"] for answer in answers)
    assert await client.metric("tandem_model_load_failures_total") == before
    assert len(living.events("model failed to load", "refused")) == 1

    # Other tests of this server expect models that answer.
    path.unlink()
    await client.gone("refused")


async def test_a_model_that_fails_to_load_is_not_loaded_at_every_request(
    client: Client, living: Site, cache: Path
) -> None:
    """Its artifact is lost, and can't be rebuilt."""
    living.bring("three", "lost.pb")
    await client.serves("lost")
    await client.admin("POST", "models/lost/unload")

    with lost(cache):
        load = await client.admin("POST", "models/lost/load")
        answers = [await client.ask("lost") for _ in range(REQUESTS)]

    assert load.status_code == 503
    assert {answer.status_code for answer in answers} == {503}
    assert "can't be written" in load.json()["error"]
    assert all("can't be written" in answer.json()["error"] for answer in answers)
    assert "next retry is in" in answers[-1].json()["error"]
    assert len(living.events("model failed to load", "lost/1")) == 1

    assert (await client.admin("POST", "models/lost/load")).status_code == 200
    assert await client.factor("lost") == 3.0


@contextmanager
def lost(folder: Path) -> Iterator[None]:
    """Put a file in place of the folder."""
    away = folder.rename(folder.with_name("away"))
    folder.touch()

    try:
        yield
    finally:
        folder.unlink()
        away.rename(folder)


async def test_a_damaged_artifact_is_rebuilt(
    client: Client, living: Site, cache: Path, tmp_path: Path
) -> None:
    known = set(cache.iterdir())
    write_scale(tmp_path / "damaged.pb", 7).rename(living.folder / "damaged.pb")
    await client.serves("damaged")
    [artifact] = [path for path in set(cache.iterdir()) - known if path.is_dir()]
    await client.admin("POST", "models/damaged/unload")
    graph = artifact / "graph.pb"
    graph.write_bytes(bytes(graph.stat().st_size))

    load = await client.admin("POST", "models/damaged/load")

    assert load.status_code == 200, load.text
    assert await client.factor("damaged") == 7.0


async def test_a_killed_compiler_is_reported_and_retried(
    client: Client, living: Site, tmp_path: Path
) -> None:
    write_scale(tmp_path / "killed.pb", 9).rename(living.folder / "killed.pb")

    with anyio.fail_after(PATIENCE_SECONDS):
        while not (children := compilers(living.server.process.pid)):
            await anyio.sleep(0.01)

    os.kill(children[0], signal.SIGKILL)
    failed = await client.until("killed", state="END")

    assert "The compiler was killed while reading killed.pb" in failed["error"]
    assert (await client.ask("killed")).status_code == 503
    assert await client.factor("always") == 1.0
    assert await client.metric("tandem_model_failed", "killed") == 1

    answer = await client.admin("POST", "models/killed/load")
    assert answer.status_code == 200, answer.text
    assert await client.factor("killed") == 9.0
    assert not compilers(living.server.process.pid)


def compilers(parent: int) -> list[int]:
    """Return the compilers among a process's children."""
    found = []

    for folder in Path("/proc").glob("[0-9]*"):
        # A process may end while it is inspected.
        with suppress(OSError):
            after_name = (folder / "stat").read_text().rpartition(") ")[2].split()
            command = (folder / "cmdline").read_bytes()

            if after_name[1] == str(parent) and b"inference.compiler\0" in command:
                found.append(int(folder.name))

    return found
