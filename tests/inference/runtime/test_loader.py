"""Loading: measured, warmed up, and closed on failure."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest
from structlog.testing import capture_logs

from inference.artifacts.artifact import Artifact
from inference.artifacts.builder import Compiled
from inference.backend import tf
from inference.errors import InvalidModel, InvalidSidecar, LoadFailed
from inference.inputs.recorded_requests import TFS_WARMUP
from inference.limits import Limits
from inference.permissions import Permissions
from inference.repository.scan import ModelFiles
from inference.runtime.footprint import expected_bytes, resident_bytes
from inference.runtime.loader import Loader, Prepared
from inference.runtime.servable import Servable
from inference.types import ModelId
from tests.support.echo import echo
from tests.support.graphs import compile_graph, floats, rows

if TYPE_CHECKING:
    from pathlib import Path

    from inference.runtime.opening import Loaded

LIMITS = Limits(concurrency=1, intra_op_threads=1)
LARGE = 10 * 1024**2


def prepared(
    folder: Path, build: Any = echo, *, warmup: str | None = None, **other: Any
) -> Prepared:
    """A graph that was compiled, and the requests recorded beside it."""
    recorded = folder / "warmup.jsonl"
    artifact = compile_graph(folder, build)
    manifest = artifact.read_manifest()

    if warmup is not None:
        recorded.write_text(warmup)

    files = ModelFiles(
        id=ModelId("echo", 1),
        path=folder / "model.pb",
        warmup=None if warmup is None else recorded,
    )
    compiled = Compiled(artifact=artifact, manifest=manifest, fresh=True)
    limits = other.get("limits", LIMITS)
    return Prepared(
        files=files,
        compiled=compiled,
        limits=limits,
        plans=limits.plans(manifest.signatures),
    )


async def opened(version: Prepared) -> Loaded:
    builder: Any = None
    return await Loader(builder, LIMITS).open(version)


def count_servables(monkeypatch: pytest.MonkeyPatch) -> list[Servable]:
    """Record all servables created from now on."""
    made: list[Servable] = []
    begin = Servable.__init__

    def keep(self: Servable, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(Servable, "__init__", keep)
    return made


@pytest.mark.parametrize(
    ("beside", "warmup", "logged"),
    [
        pytest.param(
            TFS_WARMUP,
            None,
            [TFS_WARMUP],
            id="another server's",
        ),
        pytest.param(TFS_WARMUP, """{"inputs": {"x": [[1, 1]]}}""", [], id="both"),
        pytest.param("assets.extra/other", None, [], id="none"),
    ],
)
async def test_requests_recorded_for_another_server_are_logged_as_ignored(
    tmp_path: Path, beside: str, warmup: str | None, logged: list[str]
) -> None:
    version = prepared(tmp_path, warmup=warmup)
    folder = tmp_path / "saved"
    (folder / beside).parent.mkdir(parents=True)
    (folder / beside).touch()
    version = replace(version, files=replace(version.files, path=folder))

    with capture_logs() as lines:
        loaded = await opened(version)

    loaded.servable.close()
    event = "recorded requests not read"
    assert [line["file"] for line in lines if line["event"] == event] == logged


async def test_broken_warm_up_closes_the_servable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(servable: Servable) -> None:
        raise MemoryError("no room")

    version = prepared(tmp_path)
    servables = count_servables(monkeypatch)
    monkeypatch.setattr(Servable, "warm_up", break_down)

    with pytest.raises(LoadFailed, match=r"Cannot allocate memory\. Give"):
        await opened(version)

    [servable] = servables
    assert servable._session is None


async def test_recorded_requests_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded requests replace generated ones, in all forms of a predict body."""
    asked: list[list[list[float]]] = []
    run = Servable.run

    def recording(self: Servable, name: str, inputs: Any, *rest: Any) -> Any:
        asked.append(inputs["x"].tolist())
        return run(self, name, inputs, *rest)

    warmup = """{"inputs": {"x": [[1, 1]]}}
    {"inputs": [[2, 2]], "signature_name": "serving_default"}

    {"instances": [[3, 3], [4, 4]]}
    {"instances": [{"x": [5, 5]}, {"x": [6, 6]}]}
    """
    version = prepared(tmp_path, warmup=warmup)
    monkeypatch.setattr(Servable, "run", recording)
    monkeypatch.setattr(Servable, "warm_up", lambda _: asked.append([[0.0]]))
    loaded = await opened(version)
    loaded.servable.close()
    assert asked == [[[1, 1]], [[2, 2]], [[3, 3], [4, 4]], [[5, 5], [6, 6]]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"inputs": {"y": [[1, 1]]}}', "does not have named input: y"),
        ('{"inputs": [[1, 2, 3]]}', "wants shape"),
        ('{"inputs": [[1, 2]], "signature_name": "no"}', "no signature 'no'"),
        ('{"inputs": [[1, 2]], "signature_name": []}', "must be a string"),
        ("{", "it isn't JSON"),
        ('{"inputs": [], "instances": []}', 'must have one of "inputs" and'),
        ("[]", 'must have one of "inputs" and'),
        ('{"instances": []}', "must be a list with a row or more"),
        ('{"instances": [{"x": [1, 1]}, {"z": [1, 1]}]}', "must have the same inputs"),
        ('{"instances": [{"x": [1, 1]}, [1, 1]]}', "must have the same inputs"),
    ],
)
async def test_failing_recorded_request_refuses_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    version = prepared(tmp_path, warmup=f'{{"inputs": [[1, 1]]}}\n\n{line}')
    servables = count_servables(monkeypatch)

    with pytest.raises(InvalidModel, match=f"warmup.jsonl, line 3: .*{words}"):
        await opened(version)

    assert all(each._session is None for each in servables)


async def test_too_many_recorded_requests_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = prepared(tmp_path, warmup='{"inputs": [[1, 1]]}\n' * 3)
    monkeypatch.setattr("inference.inputs.recorded_requests.MAX_REQUESTS", 2)

    with pytest.raises(InvalidModel, match="has 3 requests; keep at most 2"):
        await opened(version)

    monkeypatch.setattr("inference.inputs.recorded_requests.MAX_BYTES", 10)

    with pytest.raises(InvalidModel, match=r"warmup.jsonl"):
        await opened(version)


async def test_a_version_takes_at_least_its_weights(tmp_path: Path) -> None:
    """The process' free memory doesn't matter: the compiler measured it."""
    # Few outputs a row: large ones would take seconds to compare.
    values = floats(2560, LARGE // 4 // 2560)

    def heavy() -> None:
        tf.matmul(rows("x", 2560), tf.constant(values), name="y")

    version = prepared(tmp_path, heavy)
    manifest = version.compiled.manifest
    assert manifest.weights_bytes >= LARGE
    assert version.nbytes == expected_bytes(manifest) >= LARGE

    loaded = await opened(version)

    try:
        assert loaded.nbytes >= version.nbytes
        assert resident_bytes() > LARGE
    finally:
        loaded.servable.close()


async def test_versions_are_loaded_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[int] = []
    most: list[int] = []

    def warm_up(servable: Servable) -> None:
        inside.append(1)
        most.append(len(inside))
        anyio.from_thread.run(anyio.wait_all_tasks_blocked)
        inside.pop()

    monkeypatch.setattr(Servable, "warm_up", warm_up)
    builder: Any = None
    loader = Loader(builder, LIMITS)
    version = prepared(tmp_path)
    all_opened = []

    async def open_one() -> None:
        all_opened.append(await loader.open(version))

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(open_one)

    assert most == [1, 1, 1]

    for each in all_opened:
        each.servable.close()


class Again:
    """A builder that restores the artifact, or finds changed files."""

    permissions = Permissions()

    def __init__(self, version: Prepared, backup: Path) -> None:
        self._version = version
        self._backup = shutil.copytree(version.compiled.artifact.folder, backup)
        self.changed = False

    async def build(self, *_: Any, **__: Any) -> Compiled:
        compiled = self._version.compiled

        if self.changed:
            return replace(compiled, artifact=Artifact(self._backup))

        shutil.copytree(self._backup, compiled.artifact.folder)
        return compiled


async def test_damaged_artifact_is_recompiled(tmp_path: Path) -> None:
    version = prepared(tmp_path)
    builder: Any = Again(version, tmp_path / "backup")
    version.compiled.artifact.graph.write_bytes(b"damaged")

    loaded = await Loader(builder, LIMITS).open(version)

    with loaded.servable as servable:
        assert servable.run("serving_default", {"x": np.ones((1, 2), "float32")})


async def test_damaged_artifact_of_changed_files_is_refused(tmp_path: Path) -> None:
    version = prepared(tmp_path)
    builder: Any = Again(version, tmp_path / "backup")
    builder.changed = True
    shutil.rmtree(version.compiled.artifact.folder)

    with pytest.raises(LoadFailed, match="files that it was made of have changed"):
        await Loader(builder, LIMITS).open(version)


async def with_classes(folder: Path, version: Prepared, text: str) -> Prepared:
    """Prepare `version` again, with a file of classes beside it."""
    builder: Any = Again(version, folder / "backup")
    shutil.rmtree(version.compiled.artifact.folder)
    sidecar = folder / "model.toml"
    sidecar.write_text('classes = "labels.txt"')
    (folder / "labels.txt").write_text(text)
    files = replace(version.files, sidecar=sidecar)
    return await Loader(builder, LIMITS).prepare(files, lambda _: None)


async def test_a_version_is_loaded_with_the_names_of_its_classes(
    tmp_path: Path,
) -> None:
    version = prepared(tmp_path)
    found = await with_classes(tmp_path, version, "cat\ndog\n")
    loaded = await opened(found)
    loaded.servable.close()

    assert loaded.classes == ("cat", "dog")
    assert not found.same_as(version)


async def test_other_numbers_of_classes_than_of_scores_are_refused(
    tmp_path: Path,
) -> None:
    def build() -> object:
        return tf.identity(rows("x", 3), name="y")

    with pytest.raises(InvalidSidecar, match="model.toml: .* 2 lines.* y has 3"):
        await with_classes(tmp_path, prepared(tmp_path, build), "cat\ndog\n")
