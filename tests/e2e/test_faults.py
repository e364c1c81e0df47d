"""Troubles of the machine around a server that goes on."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.sites import Client, Site

IDLE = 1_000


@contextmanager
def away(folder: Path) -> Iterator[None]:
    """Have a folder be gone for a while."""
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    try:
        yield
    finally:
        elsewhere.rename(folder)


async def test_models_are_served_while_their_folder_is_gone(
    client: Client, living: Site
) -> None:
    living.bring("two", "steady.pb")
    await client.serves("steady")

    with away(living.folder):
        await client.until_metric("tandem_repository_up", 0)
        meanwhile = await client.factor("steady")
        alive = await client.get("/livez")

    await client.until_metric("tandem_repository_up", 1)
    # What is there again is the same, and nothing was loaded twice.
    assert meanwhile == await client.factor("steady") == 2.0
    assert alive.status_code == 200
    assert len(living.events("model loaded", "steady")) == 1


async def test_a_thousand_idle_connections_hinder_nobody(
    client: Client, living: Site
) -> None:
    host, port = client.base_url.host, client.base_url.port
    streams = [await asyncio.open_connection(host, port) for _ in range(IDLE)]
    try:
        alive = await client.get("/livez")
        factor = await client.factor("always")
    finally:
        for _, writer in streams:
            writer.close()

    assert alive.status_code == 200
    assert factor == 1.0
