"""A repository of links, made and changed as KServe's storage initialiser does."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from service.cli.main import main
from tests.e2e.processes import first_answer
from tests.e2e.sites import Client, site

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


def point(link: Path, target: Path) -> None:
    """Set a link atomically: readers find the old one or the new one."""
    hidden = link.with_name(f".{link.name}")
    hidden.symlink_to(target)
    os.replace(hidden, link)


async def test_links_into_a_named_folder_are_served_and_watched(
    stock: Path, cache: Path, tmp_path: Path
) -> None:
    store, root = tmp_path / "store", tmp_path / "mnt"
    root.mkdir()

    for number, name in enumerate(("one", "two", "three"), start=1):
        (store / f"deep/{number}").mkdir(parents=True)
        shutil.copy(stock / f"{name}.pb", store / f"deep/{number}/model.pb")

    with site(root, stock, cache, "--follow-links-to", str(store)) as living:
        async with Client(base_url=living.server.url, timeout=60) as client:
            await first_answer(client, "/livez")
            point(living.folder / "bare.pb", store / "deep/1/model.pb")
            point(living.folder / "deep", store / "deep")
            point(living.folder / "out.pb", stock / "one.pb")
            await client.serves("bare")
            await client.serves("deep", 3)
            answer = await client.ask("out")
            assert "with --follow-links-to." in answer.json()["error"]

            point(living.folder / "bare.pb", store / "deep/2/model.pb")
            await client.until_factor("bare", 2.0)

            # The new target is refused, so the old files are still served.
            point(living.folder / "bare.pb", stock / "three.pb")
            point(living.folder / "after.pb", store / "deep/1/model.pb")
            await client.serves("after")
            assert await client.factor("bare") == 2.0


def test_inspect_and_compile_follow_links_too(
    stock: Path, cache: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "m.pb").symlink_to(stock / "one.pb")
    arguments = ["inspect", str(folder), "--cache-dir", str(cache)]
    refused = CliRunner().invoke(main, arguments)
    done = CliRunner().invoke(main, [*arguments, "--follow-links-to", str(stock)])

    assert (refused.exit_code, done.exit_code) == (1, 0)
    assert "--follow-links-to" in " ".join(refused.output.split())
