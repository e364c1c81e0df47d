"""Troubles of the machine while models are compiled: told as such, and tried again."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.errors import InferenceError, InvalidModel, LoadFailed
from inference.repository.scan import ModelFiles
from inference.types import ModelId
from tests.support.children import Child, install_copy, key_of, put
from tests.support.disks import Disk, small_disk
from tests.support.graphs import compile_path, floats, rows, write_graph

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.compiled_cases import CompiledCases


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", "600k") as disk:
        yield disk


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(folder=tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> ModelFiles:
    path = tmp_path / "model.h5"
    path.write_bytes(b"none")
    return ModelFiles(id=ModelId("model", 1), path=path)


def dense() -> None:
    from inference.backend import tf

    tf.matmul(rows("x", 512), floats(512, 512), name="y")


async def failure(cache: ArtifactCache, files: ModelFiles) -> InferenceError:
    """Return the error of a build."""
    with pytest.raises(InferenceError) as caught:
        await ArtifactBuilder(cache, timeout_seconds=100).build(files, lambda _: None)

    return caught.value


def refusals(cache: ArtifactCache) -> list[Path]:
    return list(cache.folder.glob("*.refused"))


async def test_a_full_disk_is_not_the_models_fault(
    disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_graph(tmp_path / "dense.pb", dense)
    files = ModelFiles(id=ModelId("dense", 1), path=path)
    cache = ArtifactCache(disk.folder)

    error = await failure(cache, files)

    assert type(error) is LoadFailed
    assert f"No space left on device: {disk.folder}. Free space there" in str(error)
    assert refusals(cache) == []

    disk.remount("size=64m")
    install_copy(tmp_path, monkeypatch, compile_path(path, tmp_path / "made"))
    builder = ArtifactBuilder(cache, timeout_seconds=100)
    assert (await builder.build(files, lambda _: None)).fresh


async def test_a_read_only_cache_serves_what_it_has_and_says_what_it_lacks(
    disk: Disk, compiled: CompiledCases, file: ModelFiles
) -> None:
    cache = ArtifactCache(disk.folder)
    case = compiled.case("saved_half_plus_two")
    known = ModelFiles(id=ModelId("half", 1), path=case.path)
    put(cache, known, compiled.artifact("saved_half_plus_two"))
    disk.remount("ro")

    error = await failure(cache, file)
    builder = ArtifactBuilder(cache, timeout_seconds=100)
    found = await builder.build(known, lambda _: None)

    assert type(error) is LoadFailed
    assert "Read-only file system" in str(error)
    assert "--cache-dir" in str(error)
    assert not found.fresh


async def test_a_cache_that_was_removed_is_made_again(
    tmp_path: Path, child: Child, file: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    child.install(monkeypatch, """echo '{"error": "no", "lasting": true}'""")
    cache = ArtifactCache(tmp_path / "missing" / "cache")

    assert type(await failure(cache, file)) is InvalidModel
    assert len(refusals(cache)) == 1


async def test_a_missing_executable_is_named(
    tmp_path: Path, file: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))

    error = await failure(ArtifactCache(tmp_path / "cache"), file)

    assert type(error) is LoadFailed
    assert "The compiler can't be started" in str(error)
    assert str(tmp_path / "gone") in str(error)


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        pytest.param("kill -KILL $$", "more memory", id="killed for memory"),
        pytest.param("kill -XFSZ $$", "larger than", id="a file too large"),
        pytest.param("kill -XCPU $$", "CPU time", id="out of CPU time"),
        pytest.param("kill -BUS $$", "signal 7", id="a mapped file cut short"),
        pytest.param(
            "echo 'HDF5: errno = 28, No space left on device' >&2; exit 1",
            "Free space there",
            id="a full disk",
        ),
        pytest.param(
            "echo 'OSError: Input/output error' >&2; exit 1",
            "Check the disk",
            id="a broken disk",
        ),
        pytest.param(
            "echo 'std::bad_alloc' >&2; kill -ABRT $$", "--compile-memory", id="memory"
        ),
    ],
)
async def test_a_child_that_the_machine_ended_is_run_again(
    tmp_path: Path,
    child: Child,
    file: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
    ending: str,
    words: str,
) -> None:
    child.install(monkeypatch, ending)
    cache = ArtifactCache(tmp_path / "cache")

    error = await failure(cache, file)
    await failure(cache, file)

    assert type(error) is LoadFailed
    assert words in str(error)
    assert len(child.pids) == 2


async def test_a_child_that_failed_before_it_read_the_model_is_run_again(
    tmp_path: Path, file: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\ncat > /dev/null; echo 'No module x' >&2; exit 1")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))

    error = await failure(ArtifactCache(tmp_path / "cache"), file)

    assert type(error) is LoadFailed
    assert "No module x" in str(error)


@pytest.mark.parametrize(
    "number",
    [errno.EIO, errno.EMFILE, errno.ENFILE, errno.EACCES, errno.ESTALE],
    ids=errno.errorcode.get,
)
async def test_a_model_that_cant_be_read_now_is_no_invalid_model(
    tmp_path: Path, file: ModelFiles, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("inference.artifacts.builder.digest_source", fail)

    error = await failure(ArtifactCache(tmp_path / "cache"), file)

    assert type(error) is LoadFailed
    assert f"{os.strerror(number)}: {file.path}. " in str(error)


async def test_a_sidecar_that_cant_be_read_now_is_no_invalid_sidecar(
    tmp_path: Path, file: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    sidecar = tmp_path / "model.toml"
    sidecar.touch()

    def fail(path: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr("inference.repository.sidecar._text", fail)
    files = ModelFiles(id=file.id, path=file.path, sidecar=sidecar)

    error = await failure(ArtifactCache(tmp_path / "cache"), files)

    assert type(error) is LoadFailed
    assert str(sidecar) in str(error)


async def test_an_artifact_that_cant_be_read_now_is_kept(
    tmp_path: Path, compiled: CompiledCases, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ArtifactCache(tmp_path / "cache")
    case = compiled.case("saved_half_plus_two")
    files = ModelFiles(id=ModelId("half", 1), path=case.path)
    artifact = put(cache, files, compiled.artifact("saved_half_plus_two"))

    def fail(path: Path) -> bytes:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", fail)
        error = await failure(cache, files)

    assert type(error) is LoadFailed
    assert "ulimit -n" in str(error)
    assert cache.find(key_of(files)) == (artifact, artifact.read_manifest())


async def test_a_refusal_that_cant_be_kept_doesnt_hide_the_models_error(
    tmp_path: Path, child: Child, file: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    child.install(monkeypatch, """echo '{"error": "no", "lasting": true}'""")
    monkeypatch.setattr(ArtifactCache, "refuse", fail)

    error = await failure(ArtifactCache(tmp_path / "cache"), file)

    assert (type(error), str(error)) == (InvalidModel, "no")
