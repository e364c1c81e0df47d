"""Settings of a real server, changed while it runs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.e2e.sites import SETTINGS

if TYPE_CHECKING:
    from tests.e2e.sites import Client, Site

pytestmark = pytest.mark.timeout(300)


async def settings(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = (await client.admin("GET", "settings")).json()["settings"]
    return found


async def until_settings(client: Client, **wanted: Any) -> None:
    with anyio.fail_after(60):
        while not wanted.items() <= (await settings(client)).items():
            await anyio.sleep(0.05)


async def test_settings_are_changed_by_a_call_and_by_a_newer_file(
    client: Client, living: Site
) -> None:
    before = await settings(client)
    file = living.token.with_name(SETTINGS)
    budget = before["memory_budget"]

    try:
        called = await client.admin("PATCH", "settings", {"max_queue": 99})
        assert called.json()["settings"]["max_queue"] == 99
        assert (await client.ask("always")).status_code == 200

        file.write_text('memory-budget = "3GiB"\n')
        living.server.process.send_signal(signal.SIGHUP)
        await until_settings(client, memory_budget=3 << 30, max_queue=99)
        assert await client.metric("tandem_models_memory_budget_bytes") == 3 << 30

        file.write_text("max-queue = many\n")
        living.server.process.send_signal(signal.SIGHUP)
        with anyio.fail_after(60):
            while not living.events("settings not read again"):
                await anyio.sleep(0.05)

        assert (await settings(client))["memory_budget"] == 3 << 30
    finally:
        file.write_text("")
        living.server.process.send_signal(signal.SIGHUP)
        await until_settings(client, memory_budget=budget)
        await client.admin("PATCH", "settings", {"max_queue": before["max_queue"]})
