"""The commands for a folder of compiled models."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from service.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a cache of two artifacts; no compiler is needed for damaged ones."""
    for number, key in enumerate(("old", "new")):
        folder = tmp_path / "cache" / key
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        (folder / "weights.bin").write_bytes(bytes(3 << 20))
        os.utime(folder, (0, 1_600_000_000 + number))

    return tmp_path / "cache"


def run(*args: str, **env: str) -> Result:
    return CliRunner().invoke(main, ["cache", *args], env=env)


def test_the_artifacts_are_listed(cache: Path) -> None:
    result = run("list", TANDEM_CACHE_DIR=str(cache))

    assert result.exit_code == 0
    old, new, total = result.output.splitlines()[1:]
    assert "old" in old
    assert "3.0 MiB" in old
    assert "2020-09-1" in old
    assert "new" in new
    assert total == f"2 in {cache}, 6.0 MiB together"


def test_the_list_is_json_for_machines(cache: Path) -> None:
    document = json.loads(run("list", "--json", "--cache-dir", str(cache)).output)

    assert document["bytes"] == 2 * ((3 << 20) + 2)
    first = document["artifacts"][0]
    assert first["folder"] == str(cache / "old")
    assert (first["nbytes"], first["in_use"]) == ((3 << 20) + 2, False)


@pytest.mark.parametrize(
    ("args", "left"),
    [
        pytest.param(["--unused"], [], id="all unused"),
        pytest.param(["--older-than", "12h"], [], id="old ones"),
        pytest.param(["--older-than", "100000d"], ["new", "old"], id="none is so old"),
        pytest.param(["--max-bytes", "4MiB"], ["new"], id="beyond a size"),
        pytest.param(["--max-bytes", "1GiB"], ["new", "old"], id="within a size"),
        pytest.param(["--unused", "--dry-run"], ["new", "old"], id="only told"),
    ],
)
def test_artifacts_are_pruned(cache: Path, args: list[str], left: list[str]) -> None:
    result = run("prune", *args, "--cache-dir", str(cache))

    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in cache.iterdir()) == left


@pytest.mark.parametrize(
    ("args", "words"),
    [
        pytest.param(["prune"], "--older-than", id="nothing said"),
        pytest.param(["prune", "--max-bytes", "much"], "64MiB", id="no size"),
        pytest.param(["list", "--cache-dir", "/none/there"], "exist", id="no folder"),
    ],
)
def test_mistakes_are_explained(cache: Path, args: list[str], words: str) -> None:
    result = run(*args, TANDEM_CACHE_DIR=str(cache))

    assert result.exit_code == 2
    assert words in result.output
