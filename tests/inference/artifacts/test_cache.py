from __future__ import annotations

import shutil
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from inference.artifacts.artifact import FORMAT
from inference.artifacts.cache import (
    SHAPING_PACKAGES,
    ArtifactCache,
    artifact_key,
)
from inference.repository.digest import digest_source
from inference.repository.sidecar import read_sidecar
from tests.support.graphs import compile_graph, floats, rows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.artifacts.artifact import Artifact


def dense() -> None:
    from inference.backend import tf

    tf.matmul(rows("x", 16), floats(16, 100), name="y")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return compile_graph(tmp_path_factory.mktemp("made"), dense)


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "below" / "cache")


def publish(cache: ArtifactCache, made: Artifact, key: str = "key") -> Artifact:
    with cache.scratch() as folder:
        shutil.copytree(made.folder, folder, dirs_exist_ok=True)
        return cache.publish(folder, key, made.read_manifest())


def test_nothing_is_found_in_an_empty_cache(cache: ArtifactCache) -> None:
    assert cache.find("key") is None


def test_published_artifact_is_found(cache: ArtifactCache, made: Artifact) -> None:
    published = publish(cache, made)
    found = cache.find("key")

    assert found is not None
    artifact, manifest = found
    assert artifact == published
    assert manifest == made.read_manifest()
    assert artifact.weights.read_bytes() == made.weights.read_bytes()
    assert cache.find("other") is None


def test_second_publisher_gets_the_first_artifact(
    cache: ArtifactCache, made: Artifact
) -> None:
    first = publish(cache, made)
    times = [path.stat().st_mtime_ns for path in sorted(first.folder.iterdir())]

    assert publish(cache, made) == first
    assert [p.stat().st_mtime_ns for p in sorted(first.folder.iterdir())] == times


def test_scratch_folder_is_removed(cache: ArtifactCache, made: Artifact) -> None:
    with cache.scratch() as folder:
        assert list(folder.iterdir()) == []
        (folder / "graph.pb").touch()
        beside = folder.parent.parent

    with pytest.raises(RuntimeError), cache.scratch():
        raise RuntimeError

    publish(cache, made)
    assert [path.name for path in beside.iterdir()] == ["key"]


@pytest.mark.parametrize("name", ["graph", "weights", "manifest"])
def test_damaged_artifact_is_removed(
    cache: ArtifactCache, made: Artifact, name: str
) -> None:
    published = publish(cache, made)
    path: Path = getattr(published, name)
    path.write_bytes(path.read_bytes()[:-1])

    assert cache.find("key") is None
    assert not published.folder.exists()
    assert publish(cache, made) == published
    assert cache.find("key") is not None


def test_each_key_has_its_own_lock(cache: ArtifactCache) -> None:
    with cache.try_lock("a") as first, cache.try_lock("b") as other:
        with cache.try_lock("a") as second:
            assert (first, other, second) == (True, True, False)

    with cache.try_lock("a") as again:
        assert again


def key_of(path: Path, sidecar: Path | None = None) -> str:
    return artifact_key(digest_source(path), read_sidecar(sidecar).shaping())


def sidecar(folder: Path, text: str) -> Path:
    path = folder / "some.toml"
    path.write_text(text)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.h5"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "saved"
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"graph")
    (path / "variables" / "variables.index").write_bytes(b"index")
    return path


def test_the_key_doesnt_change_with_the_files_name(file: Path) -> None:
    before = key_of(file)

    assert key_of(file.rename(file.with_name("other.h5"))) == before


def test_the_key_doesnt_change_with_the_folders_name(folder: Path) -> None:
    before = key_of(folder)

    assert key_of(folder.rename(folder.with_name("7"))) == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.write_bytes(b"Weights"), id="content"),
        pytest.param(lambda path: path.write_bytes(b"weight"), id="length"),
        pytest.param(
            lambda path: path.with_suffix(".json").write_text("{}"), id="architecture"
        ),
    ],
)
def test_the_key_changes_with_the_file(
    file: Path, change: Callable[[Path], object]
) -> None:
    before = key_of(file)
    change(file)

    assert key_of(file) != before


def test_the_key_changes_with_the_architecture_beside(file: Path) -> None:
    beside = file.with_suffix(".json")
    beside.write_text('{"units": 3}')
    before = key_of(file)
    beside.write_text('{"units": 4}')

    assert key_of(file) != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            lambda path: (path / "saved_model.pb").write_bytes(b"Graph"), id="content"
        ),
        pytest.param(
            lambda path: (path / "variables" / "variables.index").rename(
                path / "variables" / "variables.data"
            ),
            id="a file's name",
        ),
        pytest.param(
            lambda path: (path / "variables" / "variables.more").touch(),
            id="another file",
        ),
        pytest.param(
            lambda path: (path / "variables" / "variables.index").unlink(),
            id="a file less",
        ),
    ],
)
def test_the_key_changes_with_the_folder(
    folder: Path, change: Callable[[Path], object]
) -> None:
    before = key_of(folder)
    change(folder)

    assert key_of(folder) != before


def test_non_shaping_sidecar_keys_leave_the_key_unchanged(folder: Path) -> None:
    """The artifact doesn't depend on comments and concurrency."""
    before = key_of(folder)
    beside = folder / "model.toml"
    beside.write_text("# for two calls\nconcurrency = 2\n")

    assert key_of(folder, beside) == before


@pytest.mark.parametrize(
    "text",
    [
        'default_signature = "predict"',
        "[constants]\nkeep = 1.0",
        '[signatures.a]\ninputs = ["x"]',
        '[signatures.a]\noutputs = ["x"]',
    ],
)
def test_the_key_changes_with_shaping_keys_of_the_sidecar(
    tmp_path: Path, file: Path, text: str
) -> None:
    assert key_of(file, sidecar(tmp_path, text)) != key_of(file)


def test_the_key_doesnt_change_with_concurrency(tmp_path: Path, file: Path) -> None:
    assert key_of(file, sidecar(tmp_path, "concurrency = 7")) == key_of(file)


@pytest.mark.parametrize("package", SHAPING_PACKAGES)
def test_the_key_changes_with_versions(
    file: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    before = key_of(file)
    monkeypatch.setattr(
        "inference.artifacts.cache.version_of",
        lambda name: "99.0" if name == package else version(name),
    )

    assert key_of(file) != before


def test_the_key_changes_with_the_artifacts_format(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = key_of(file)
    monkeypatch.setattr("inference.artifacts.cache.FORMAT", FORMAT + 1)

    assert key_of(file) != before
