"""Files are overwritten or removed; the repository disappears and comes back."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.sites import Client, Site

pytestmark = pytest.mark.timeout(300)


async def test_an_overwrite_in_place_is_detected_by_content(
    client: Client, living: Site
) -> None:
    path = living.bring("one", "place.pb")
    await client.serves("place")
    before = path.stat()
    other = (living.stock / "two.pb").read_bytes()
    assert len(other) == before.st_size

    with path.open("r+b") as file:
        file.write(other)

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    await client.until_factor("place", 2.0)
    assert path.stat().st_ino == before.st_ino


async def test_a_touched_file_is_not_reloaded(client: Client, living: Site) -> None:
    path = living.bring("one", "touched.pb")
    await client.serves("touched")
    os.utime(path)
    # Later changes are detected later.
    living.bring("two", "touched_after.pb")
    await client.serves("touched_after")

    assert len(living.events("model loaded", "touched")) == 1
    assert await client.factor("touched") == 1.0


async def test_deletion_unloads(client: Client, living: Site) -> None:
    living.bring("one", "bare.pb")
    living.version("one", "deep", 1)
    living.version("two", "deep", 2)
    await client.serves("bare")
    await client.serves("deep", 2)

    (living.folder / "bare.pb").unlink()
    shutil.rmtree(living.folder / "deep/2")
    await client.gone("bare")
    await client.gone("deep", 2)

    assert (await client.ask("bare")).status_code == 404
    assert not any('model="bare"' in name for name in await client.metrics())
    # The newest version present.
    await client.serves("deep", 1)
    assert await client.factor("deep") == 1.0

    shutil.rmtree(living.folder / "deep")
    await client.gone("deep", 1)
    assert (await client.ask("deep")).status_code == 404


@pytest.fixture
def restored(living: Site) -> Iterator[None]:
    yield
    point(living, str(living.folder))


def point(living: Site, target: str) -> None:
    """Point the server's path elsewhere, in one step."""
    other = living.link.with_name("other")
    other.symlink_to(target)
    os.replace(other, living.link)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("target", ["nowhere", "link"])
async def test_an_unreadable_repository_unloads_nothing(
    client: Client, living: Site, target: str
) -> None:
    await client.serves("always")
    served = await client.models()
    assert await client.metric("tandem_repository_up") == 1

    point(living, target)
    await client.until_metric("tandem_repository_up", 0)

    index = (await client.get("/")).json()
    assert "can't be read" in index["engine"]["repository_error"]
    assert (await client.models()).keys() == served.keys()
    assert await client.factor("always") == 1.0
    rescan = await client.admin("POST", "rescan")
    assert (rescan.status_code, "can't be read" in rescan.text) == (503, True)

    point(living, str(living.folder))
    await client.until_metric("tandem_repository_up", 1)
    assert await client.factor("always") == 1.0
    assert (await client.models()).keys() == served.keys()


@pytest.mark.usefixtures("restored")
async def test_an_emptied_repository_unloads_nothing(
    client: Client, living: Site
) -> None:
    await client.serves("always")
    served = await client.models()
    empty = living.link.with_name("empty")
    empty.mkdir()

    point(living, str(empty))
    # Two rescans: models missing in both would be removed.
    problems = [await client.admin("POST", "rescan") for _ in range(2)][-1].json()

    assert "holds no model now" in problems["problems"][-1]
    assert (await client.models()).keys() == served.keys()
    assert await client.factor("always") == 1.0
    assert await client.metric("tandem_repository_up") == 1
