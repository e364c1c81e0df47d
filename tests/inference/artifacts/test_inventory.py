"""The artifacts of a cache: listed, kept while they are used, and removed."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from inference.artifacts.artifact import Artifact
from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.artifacts.inventory import Hold, disk_bytes, hold, inventory, prune
from inference.artifacts.weights import OWN_FILE
from inference.repository.scan import ModelFiles
from inference.types import ModelId
from tests.support.children import install_copy, put
from tests.support.graphs import compile_graph, floats, rows, write_graph

if TYPE_CHECKING:
    from pathlib import Path

NOW, DAY = 1_700_000_000.0, 86400.0
SHARED = floats(160, 160)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Compile a model with a weight that artifacts share."""

    def build() -> None:
        from inference.backend import tf

        tf.matmul(rows("x", 160), SHARED, name="y")

    assert SHARED.nbytes > OWN_FILE
    return compile_graph(tmp_path_factory.mktemp("made"), build)


@pytest.fixture
def cache(tmp_path: Path, made: Artifact) -> ArtifactCache:
    """Return a cache of "new", "older" and "oldest", used 1, 2 and 3 days ago."""
    cache = ArtifactCache(tmp_path / "cache")

    for days, key in enumerate(("new", "older", "oldest"), start=1):
        manifest = made.read_manifest().model_copy(update={"model": f"{key}/1"})

        with cache.scratch() as folder:
            shutil.copytree(made.folder, folder, dirs_exist_ok=True)
            published = cache.publish(folder, key, manifest)

        os.utime(published.folder, (0, NOW - days * DAY))

    return cache


def keys(cache: ArtifactCache) -> list[str]:
    return [each.folder.name for each in inventory(cache.folder)]


def test_artifacts_are_listed_by_their_last_use(cache: ArtifactCache) -> None:
    listed = inventory(cache.folder)

    assert [each.model for each in listed] == ["oldest/1", "older/1", "new/1"]
    assert [each.last_used for each in listed] == [NOW - n * DAY for n in (3, 2, 1)]
    assert not any(each.in_use for each in listed)
    assert all(each.nbytes > SHARED.nbytes for each in listed)
    assert SHARED.nbytes < disk_bytes(listed) < 2 * SHARED.nbytes, "shared once"


def test_a_missing_cache_is_empty(tmp_path: Path) -> None:
    assert inventory(tmp_path / "none") == []


def test_a_damaged_artifact_is_listed_and_removed(cache: ArtifactCache) -> None:
    (cache.folder / "older" / "manifest.json").write_text("{}")

    assert [each.model for each in inventory(cache.folder)] == ["oldest/1", "", "new/1"]
    prune(cache.folder, now=NOW, unused_seconds=1.5 * DAY)
    assert keys(cache) == ["new"]


@pytest.mark.parametrize("dry", [False, True], ids=["removed", "only told"])
def test_long_unused_artifacts_are_removed(cache: ArtifactCache, dry: bool) -> None:
    removed = prune(cache.folder, now=NOW, unused_seconds=1.5 * DAY, dry=dry)

    assert [each.model for each in removed] == ["oldest/1", "older/1"]
    assert keys(cache) == (["oldest", "older", "new"] if dry else ["new"])
    assert dry or sorted(path.name for path in cache.folder.iterdir()) == ["new"]


def test_the_least_recently_used_make_room(cache: ArtifactCache) -> None:
    most = disk_bytes(inventory(cache.folder)[1:])

    removed = prune(cache.folder, now=NOW, max_bytes=most)

    assert [each.model for each in removed] == ["oldest/1"]
    assert disk_bytes(inventory(cache.folder)) <= most


def test_artifact_in_use_is_kept(cache: ArtifactCache) -> None:
    held = hold(Artifact(cache.folder / "oldest"))
    os.utime(cache.folder / "oldest", (0, NOW - 9 * DAY))
    assert isinstance(held, Hold)
    assert [each.in_use for each in inventory(cache.folder)] == [True, False, False]

    prune(cache.folder, now=NOW, max_bytes=0)
    assert keys(cache) == ["oldest"]

    del held
    prune(cache.folder, now=NOW, max_bytes=0)
    assert keys(cache) == []


def test_a_hold_notes_the_use(cache: ArtifactCache) -> None:
    hold(Artifact(cache.folder / "oldest"))

    assert keys(cache) == ["older", "new", "oldest"]


def test_missing_artifact_cannot_be_held(cache: ArtifactCache) -> None:
    assert hold(Artifact(cache.folder / "none")) is None


def test_half_removed_artifacts_are_swept(cache: ArtifactCache) -> None:
    (cache.folder / "older").rename(cache.folder / ".new-0123456789abcdef")

    cache.sweep()

    assert sorted(path.name for path in cache.folder.iterdir()) == ["new", "oldest"]


async def test_a_builder_keeps_to_its_limit(
    tmp_path: Path,
    cache: ArtifactCache,
    made: Artifact,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files that it has found or built are in use, while the result lives."""
    known = ModelFiles(id=ModelId("known", 1), path=write(tmp_path / "known.pb", 2.0))
    new = ModelFiles(id=ModelId("new", 1), path=write(tmp_path / "new.pb", 3.0))
    put(cache, known, made)
    install_copy(tmp_path, monkeypatch, made)
    builder = ArtifactBuilder(cache, timeout_seconds=100, cache_bytes=1)
    found = await builder.build(known, lambda _: None)

    built = await builder.build(new, lambda _: None)

    left = {each.folder: each.model for each in inventory(cache.folder)}
    assert left.keys() == {found.artifact.folder, built.artifact.folder}
    assert left[built.artifact.folder] == "new/1"


def write(path: Path, factor: float) -> Path:
    from inference.backend import tf

    return write_graph(path, lambda: tf.multiply(rows("x", 2), factor, name="y"))
