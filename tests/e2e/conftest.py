"""Fixtures for a changing repository: compiled files, and one server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.processes import ready
from tests.e2e.scales import compile_ahead, write_scale
from tests.e2e.sites import Client, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.e2e.sites import Site

SMALL = {"one": 1, "two": 2, "three": 3}
LARGE = {"large_1": 101, "large_2": 102, "large_3": 103, "large_4": 104}
LARGE_BYTES = 16 * 2**20


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def stock(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make files that multiply by `SMALL` and `LARGE`, compiled into `cache`."""
    folder = tmp_path_factory.mktemp("stock")
    small = [write_scale(folder / f"{name}.pb", of) for name, of in SMALL.items()]
    large = [
        write_scale(folder / f"{name}.pb", of, weights_bytes=LARGE_BYTES)
        for name, of in LARGE.items()
    ]
    compile_ahead(cache, small + large)
    return folder


@pytest.fixture(scope="package")
def living(
    stock: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Run one server for many tests; each uses names of its own."""
    root = tmp_path_factory.mktemp("living")
    flags = ("--admin-token-file", str(root / "token"), "--response-cache", "1MiB")

    with site(root, stock, cache, *flags) as living:
        living.bring("one", "always.pb")
        yield living


@pytest.fixture
async def client(living: Site) -> AsyncIterator[Client]:
    async with Client(base_url=living.server.url, timeout=60) as client:
        await ready(client)
        yield client
