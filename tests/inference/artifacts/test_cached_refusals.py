"""Refused files aren't compiled again at each start."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.errors import InvalidModel, InvalidSidecar
from inference.permissions import Permissions
from inference.repository.scan import ModelFiles
from inference.types import ModelId
from tests.support.children import Child

if TYPE_CHECKING:
    from pathlib import Path

LASTING = """echo '{"error": "no", "error_type": "InvalidSidecar", "lasting": true}'"""
PASSING = """echo '{"error": "no", "error_type": "InvalidSidecar"}'"""


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    path = tmp_path / "model.h5"
    path.write_bytes(b"none")
    return ModelFiles(id=ModelId("model", 1), path=path)


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(folder=tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


async def refused(
    cache: ArtifactCache,
    files: ModelFiles,
    *,
    retry: bool = False,
    memory_bytes: int | None = None,
) -> None:
    builder = ArtifactBuilder(
        cache, timeout_seconds=100, permissions=Permissions(memory_bytes=memory_bytes)
    )

    with pytest.raises(InvalidSidecar, match="^no$"):
        await builder.build(files, lambda _: None, retry=retry)


async def test_refusal_is_cached(
    cache: ArtifactCache,
    child: Child,
    files: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, LASTING)
    await refused(cache, files)
    await refused(cache, files)
    assert len(child.pids) == 1

    await refused(cache, files, retry=True)
    assert len(child.pids) == 2


async def test_transient_failure_is_not_cached(
    cache: ArtifactCache,
    child: Child,
    files: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, PASSING)
    await refused(cache, files)
    await refused(cache, files)

    assert len(child.pids) == 2


async def test_refusal_is_ignored_in_other_circumstances(
    cache: ArtifactCache,
    child: Child,
    files: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The memory limit may be the cause, and the text has the file's name."""
    child.install(monkeypatch, LASTING)
    await refused(cache, files)
    await refused(cache, files, memory_bytes=2**30)
    assert len(child.pids) == 2

    other = files.path.rename(files.path.with_name("other.h5"))
    await refused(cache, replace(files, path=other), memory_bytes=2**30)
    assert len(child.pids) == 3

    other.write_bytes(b"more")
    await refused(cache, replace(files, path=other), memory_bytes=2**30)
    assert len(child.pids) == 4


async def test_folder_listing_is_one_of_the_circumstances(
    cache: ArtifactCache,
    child: Child,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file that isn't read is refused for its kind or its target."""
    child.install(monkeypatch, LASTING)
    path = tmp_path / "model"
    (path / "src").mkdir(parents=True)
    (path / "saved_model.pb").touch()
    files = ModelFiles(id=ModelId("model", 1), path=path)
    os.mkfifo(path / "src/pipe")
    await refused(cache, files)
    await refused(cache, files)
    assert len(child.pids) == 1

    (path / "src/pipe").unlink()
    await refused(cache, files)
    assert len(child.pids) == 2


async def test_damaged_refusal_is_ignored(
    cache: ArtifactCache,
    child: Child,
    files: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, LASTING)
    await refused(cache, files)
    (kept,) = cache.folder.glob("*.refused")
    kept.write_text("{")
    await refused(cache, files)

    assert len(child.pids) == 2


@pytest.mark.parametrize("event", [LASTING, PASSING])
async def test_file_changed_during_compilation(
    cache: ArtifactCache,
    child: Child,
    files: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
    event: str,
) -> None:
    """The compiler's result holds for neither content."""
    child.install(monkeypatch, f"echo more >> {files.path}; {event}")

    with pytest.raises(InvalidModel, match=r"model\.h5 changed while it was read"):
        await ArtifactBuilder(cache, timeout_seconds=100).build(files, lambda _: None)

    assert list(cache.folder.iterdir()) == []


async def test_sidecar_changed_during_compilation(
    cache: ArtifactCache,
    child: Child,
    files: ModelFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sidecar = tmp_path / "model.toml"
    sidecar.write_text("input_shape = [1]")
    files = replace(files, sidecar=sidecar)
    child.install(monkeypatch, f"echo 'input_shape = [2]' > {sidecar}; {LASTING}")

    with pytest.raises(InvalidModel, match=r"model\.h5 changed while it was read"):
        await ArtifactBuilder(cache, timeout_seconds=100).build(files, lambda _: None)

    assert list(cache.folder.iterdir()) == []
