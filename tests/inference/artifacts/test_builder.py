"""The compiler's child process, its cache, and its possible ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.errors import InvalidModel, InvalidSidecar, LoadFailed
from inference.repository.digest import digest_source
from inference.repository.scan import ModelFiles
from inference.runtime.servable import Servable
from inference.types import ModelId
from tests.support.arrays import assert_outputs
from tests.support.children import Child, install_copy, is_alive, key_of, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.artifacts.builder import Compiled
    from tests.support.compiled_cases import CompiledCases

NAME = "saved_half_plus_two"


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache")


@pytest.fixture
def child(tmp_path: Path) -> Child:
    return Child(folder=tmp_path)


@pytest.fixture
def files(compiled: CompiledCases) -> ModelFiles:
    return ModelFiles(id=ModelId(NAME, 1), path=compiled.case(NAME).path)


@pytest.fixture
def file(tmp_path: Path) -> ModelFiles:
    """A model file; a fake child reads it in the compiler's place."""
    path = tmp_path / "model.h5"
    path.write_bytes(b"none")
    return ModelFiles(id=ModelId("model", 1), path=path)


def new(cache: ArtifactCache, timeout_seconds: float = 100.0) -> ArtifactBuilder:
    return ArtifactBuilder(cache, timeout_seconds=timeout_seconds)


async def collect(
    builder: ArtifactBuilder,
    files: ModelFiles,
    report: Callable[[str], None],
    into: list[Compiled],
) -> None:
    into.append(await builder.build(files, report))


def times(compiled: Compiled) -> dict[str, int]:
    folder = compiled.artifact.folder
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


async def test_concurrent_builds_compile_a_model_once(
    compiled: CompiledCases, cache: ArtifactCache, files: ModelFiles
) -> None:
    done: list[Compiled] = []
    stages: list[str] = []

    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(collect, new(cache), files, stages.append, done)

    assert sorted(each.fresh for each in done) == [False, True]
    assert done[0].artifact == done[1].artifact
    assert stages.count("starting TensorFlow") == 1
    assert stages[0] == "hashing"
    assert stages.index("reading") < stages.index("optimising (full)")
    manifest = done[0].manifest
    assert manifest == done[0].artifact.read_manifest()
    assert manifest.source == "model"
    assert manifest.source_bytes == digest_source(files.path).nbytes
    example = compiled.case(NAME).examples[0]

    with Servable(done[0].artifact) as servable:
        outputs = servable.run("serving_default", example.inputs)

    assert_outputs(outputs, example.outputs)


async def test_cached_artifact_is_not_compiled(
    compiled: CompiledCases, cache: ArtifactCache, files: ModelFiles
) -> None:
    artifact = put(cache, files, compiled.artifact(NAME))
    stages: list[str] = []
    first = await new(cache).build(files, stages.append)
    before = times(first)
    second = await new(cache).build(files, stages.append)

    assert (first.fresh, second.fresh) == (False, False)
    assert first.artifact == second.artifact == artifact
    assert times(second) == before
    assert stages == ["hashing", "hashing"]


async def test_damaged_artifact_is_compiled_again(
    compiled: CompiledCases,
    cache: ArtifactCache,
    files: ModelFiles,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_copy(tmp_path, monkeypatch, compiled.artifact(NAME))
    damaged = put(cache, files, compiled.artifact(NAME))
    damaged.weights.write_bytes(b"more than was written")

    again = await new(cache).build(files, lambda _: None)

    assert again.fresh
    assert again.artifact == damaged
    assert again.artifact.read_manifest() == again.manifest


async def test_killed_child_is_reported(
    cache: ArtifactCache,
    child: Child,
    file: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, "kill -SEGV $$")

    with pytest.raises(InvalidModel, match=r"was killed by signal 11 while reading"):
        await new(cache).build(file, lambda _: None)

    assert cache.find(key_of(file)) is None


async def test_failed_child_is_reported_with_its_last_output(
    cache: ArtifactCache,
    child: Child,
    file: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, "echo noise >&2; echo 'out of luck' >&2; exit 3")

    with pytest.raises(InvalidModel, match=r"ended with 3 .*output: out of luck$"):
        await new(cache).build(file, lambda _: None)


async def test_long_output_of_a_child_is_truncated(
    cache: ArtifactCache,
    child: Child,
    file: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, "yes | head -c 3000000 >&2; printf 'the end' >&2")

    with pytest.raises(InvalidModel, match=r"ended with 0 .*output: the end$"):
        await new(cache).build(file, lambda _: None)


async def test_an_error_keeps_its_class_and_its_text(
    cache: ArtifactCache,
    child: Child,
    file: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(
        monkeypatch,
        "echo 'no event'\n"
        """echo '{"error": "no such key", "error_type": "InvalidSidecar"}'""",
    )
    stages: list[str] = []

    with pytest.raises(InvalidSidecar, match="^no such key$"):
        await new(cache).build(file, stages.append)

    assert stages == ["hashing", "waiting for the compiler", "reading"]


async def test_child_past_its_timeout_is_killed(
    cache: ArtifactCache,
    child: Child,
    file: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, "wait_for_gate")

    # Not the model's fault, so that it is tried again.
    with pytest.raises(LoadFailed, match=r"model.h5 took longer than 0\.5 s\. .*--co"):
        await new(cache, timeout_seconds=0.5).build(file, lambda _: None)

    assert not any(map(is_alive, child.pids))


async def test_cancelled_build_leaves_no_files(
    cache: ArtifactCache,
    child: Child,
    file: ModelFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, "wait_for_gate")

    with anyio.CancelScope() as scope:

        def cancel(stage: str) -> None:
            if stage == "reading":
                scope.cancel()

        await new(cache).build(file, cancel)

    assert scope.cancelled_caught
    (pid,) = child.pids
    assert not is_alive(pid)
    assert not list(cache.folder.glob(".new-*"))

    with cache.try_lock(key_of(file)) as locked:
        assert locked


async def test_at_most_two_children_run_at_once(
    cache: ArtifactCache,
    child: Child,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.install(monkeypatch, """wait_for_gate; echo '{"error": "not today"}'""")
    monkeypatch.setattr("inference.artifacts.builder.available_cpus", lambda: 8)
    builder, changed = new(cache), anyio.Event()
    stages: dict[str, str] = {}

    def record(name: str, stage: str) -> None:
        nonlocal changed
        stages[name] = stage
        changed.set()
        changed = anyio.Event()

    async def refuse(name: str) -> None:
        path = tmp_path / name
        path.write_text(name)
        files = ModelFiles(id=ModelId(name, 1), path=path)

        with pytest.raises(InvalidModel, match="not today"):
            await builder.build(files, lambda stage: record(name, stage))

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(refuse, name)

        wanted = ["reading", "reading", "waiting for the compiler"]

        while sorted(stages.values()) != wanted:
            await changed.wait()

        await checkpoint()
        assert len(child.pids) == 2
        child.open_gate()

    assert len(child.pids) == 3
    assert stages == dict.fromkeys("abc", "reading")


async def test_missing_source_is_an_invalid_model(
    cache: ArtifactCache, tmp_path: Path
) -> None:
    files = ModelFiles(id=ModelId("model", 1), path=tmp_path / "model.h5")

    with pytest.raises(InvalidModel, match=r"model\.h5 can't be read: No such file"):
        await new(cache).build(files, lambda _: None)


async def test_invalid_sidecar_fails_without_a_child(
    cache: ArtifactCache, file: ModelFiles, tmp_path: Path
) -> None:
    sidecar = tmp_path / "model.toml"
    sidecar.write_text("[constants")
    files = ModelFiles(id=file.id, path=file.path, sidecar=sidecar)
    stages: list[Any] = []

    with pytest.raises(InvalidSidecar, match=r"model\.toml: it isn't valid TOML"):
        await new(cache).build(files, stages.append)

    assert stages == []
