"""Answers given again by a real server, while its models change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from tests.e2e.processes import PATIENCE_SECONDS
from tests.e2e.test_new_versions import ASKING, asking

if TYPE_CHECKING:
    from tests.e2e.sites import Client, Site

pytestmark = pytest.mark.timeout(300)


async def test_new_files_never_give_an_old_answer(client: Client, living: Site) -> None:
    (living.folder / "again.toml").write_text("cache_seconds = 600\n")
    living.bring("one", "again.pb")
    await client.serves("again", 1)
    first = await client.ask("again")
    second = await client.ask("again")

    async with asking(client, "again") as factors:
        living.bring("two", "again.pb")

        with anyio.fail_after(PATIENCE_SECONDS):
            while factors.count(2.0) < 20:
                await anyio.sleep(0.02)

    assert first.headers["Cache-Status"] == "Tandem; fwd=miss; stored"
    assert second.headers["Cache-Status"].startswith("Tandem; hit; ttl=")
    assert second.content == first.content
    # The others may each have one answer of the old files on the way.
    assert factors[factors.index(2.0) :].count(1.0) < ASKING
    assert (await client.ask("again")).headers["Cache-Status"].startswith("Tandem; hit")


async def test_a_sidecar_makes_predictions_jobs(client: Client, living: Site) -> None:
    (living.folder / "later.toml").write_text("async = true\n")
    living.bring("three", "later.pb")
    await client.until("later", state="AVAILABLE")
    accepted = await client.ask("later")
    result = await client.get(
        accepted.json()["urls"]["result"], headers={"Prefer": "wait=60"}
    )
    waited = await client.post(
        "/v1/models/later:predict",
        json={"instances": [3.0]},
        headers={"Prefer": "wait=60"},
    )

    assert accepted.status_code == 202
    assert result.json() == waited.json() == {"predictions": [9.0]}
