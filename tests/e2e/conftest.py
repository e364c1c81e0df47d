"""Fixtures for a changing repository: compiled files, and one server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.e2e.processes import ready
from tests.e2e.scales import (
    compile_ahead,
    write_colours,
    write_halves,
    write_identity,
    write_pairs,
    write_scale,
    write_words,
)
from tests.e2e.sites import SETTINGS, Client, site
from tests.support.shared import made_once, shared_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.sites import Site

SMALL = {"one": 1, "two": 2, "three": 3}
LARGE = {"large_1": 101, "large_2": 102, "large_3": 103, "large_4": 104}
LARGE_BYTES = 16 * 2**20
BUDGET = 5 * LARGE_BYTES // 2
"""Of a server with memory for two of `LARGE`; `huge` is more."""


@pytest.fixture(scope="session")
def scales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that multiply by `SMALL` and `LARGE`, and their artifacts, made once."""
    return made_once(shared_folder(tmp_path_factory) / "scales", write_scales)


def write_scales(folder: Path) -> None:
    stock = folder / "stock"
    stock.mkdir()
    small = [write_scale(stock / f"{name}.pb", of) for name, of in SMALL.items()]
    large = [
        write_scale(stock / f"{name}.pb", of, weights_bytes=LARGE_BYTES)
        for name, of in LARGE.items()
    ]
    others = [write_identity(stock / "identity.pb"), write_words(stock / "words.pb")]
    others.append(write_scale(stock / "huge.pb", 5, weights_bytes=BUDGET + 2**20))
    others.append(write_halves(stock / "halves.pb"))
    others.append(write_pairs(stock / "pairs.pb"))
    others.append(write_colours(stock / "colours.pb"))
    compile_ahead(folder / "cache", [*small, *large, *others])


@pytest.fixture(scope="session")
def stock(scales: Path) -> Path:
    return scales / "stock"


@pytest.fixture(scope="session")
def cache(scales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts of `stock`, in a cache of this process: tests damage it."""
    folder = tmp_path_factory.mktemp("caches") / "cache"
    shutil.copytree(scales / "cache", folder)
    return folder


@pytest.fixture(scope="package")
def living(
    stock: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Run one server for many tests; each uses names of its own."""
    root = tmp_path_factory.mktemp("living")
    (root / SETTINGS).touch()
    flags = ["--admin-token-file", str(root / "token"), "--response-cache", "1MiB"]
    flags += ["--config", str(root / SETTINGS)]
    flags += ["--payload-log", str(root / "payloads.jsonl")]

    with site(root, stock, cache, *flags) as living:
        living.bring("one", "always.pb")
        yield living


@pytest.fixture
async def client(living: Site) -> AsyncIterator[Client]:
    async with Client(base_url=living.server.url, timeout=60) as client:
        await ready(client)
        yield client
