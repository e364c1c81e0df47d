"""Compiled on one kind of machine, served on another: by the same machine, where
TensorFlow is told to use oneDNN in one process, and not to in the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.artifacts.artifact import Artifact
from inference.errors import ExecutionFailed, LoadFailed
from inference.permissions import Permissions
from inference.runtime.servable import Servable, this_machine
from tests import PROJECT
from tests.support import travelling
from tests.support.travelling import GRAPHS, ask, compile_all, prepared, truth

if TYPE_CHECKING:
    from pathlib import Path

    from inference.artifacts.builder import Compiled
    from inference.runtime.loader import Prepared

TOLERANCE = {"half precision": 2e-2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graphs compiled here, their answers there, and those compiled there."""
    folder = tmp_path_factory.mktemp("travel")
    compile_all(folder / "here")
    onednn = "0" if this_machine().onednn else "1"
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.travelling", str(folder)],
        cwd=PROJECT,
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]

    if Artifact(folder / "there" / "dense").read_manifest().machine == this_machine():
        pytest.skip("this TensorFlow has no oneDNN")

    return folder


def close(name: str, y: Any) -> None:
    wanted = truth(name)
    scale = max(1.0, float(np.abs(wanted).max()))
    bound = TOLERANCE.get(name, 1e-5)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=bound * scale)


@pytest.mark.parametrize("name", GRAPHS)
async def test_artifact_compiled_here_runs_there(folder: Path, name: str) -> None:
    close(name, np.load(folder / "answers" / f"{name}.npy"))


@pytest.mark.parametrize("name", GRAPHS)
async def test_artifact_compiled_there_runs_here(folder: Path, name: str) -> None:
    version = prepared(folder / "there" / name)
    manifest = version.compiled.manifest
    answer = await ask(version)

    assert manifest.machine != this_machine()
    assert answer.portable == manifest.native
    assert manifest.native == (manifest.portable is not None)
    close(name, answer.y)


@pytest.mark.parametrize("name", GRAPHS)
def test_both_forms_share_their_weights(folder: Path, name: str) -> None:
    artifact = Artifact(folder / "here" / name)
    manifest = artifact.read_manifest()
    assert len({weight.sha256 for weight in manifest.weights}) == len(manifest.weights)

    if manifest.portable is not None:
        assert manifest.portable.optimization == "without remap"
        portable = replace(artifact, portable=True)
        graph = portable.read_graph(manifest, portable=True)
        assert b"_Fused" not in graph
        assert b"_Mkl" not in graph


def test_native_form_serves_where_it_was_compiled(folder: Path) -> None:
    artifact = Artifact(folder / "here" / "dense")
    graph = artifact.read_graph(artifact.read_manifest())
    assert b"_FusedMatMul" in graph


class Again:
    """A builder that restores an artifact."""

    permissions = Permissions()

    def __init__(self, version: Prepared, fresh: Path) -> None:
        self._version = version
        self._fresh = fresh
        self.times = 0

    async def build(self, *_: Any, **__: Any) -> Compiled:
        compiled = self._version.compiled
        folder = compiled.artifact.folder
        self.times += 1
        shutil.copytree(self._fresh, folder, dirs_exist_ok=True)
        manifest = Artifact(folder).read_manifest()
        return replace(compiled, manifest=manifest, fresh=True)


def edited(source: Path, folder: Path, **changes: Any) -> Prepared:
    """Copy an artifact with changes to its manifest."""
    shutil.copytree(source, folder)
    artifact = Artifact(folder)
    artifact.write_manifest(artifact.read_manifest().model_copy(update=changes))
    return prepared(folder)


async def test_artifact_without_a_portable_form_is_recompiled(
    folder: Path, tmp_path: Path
) -> None:
    version = edited(folder / "there" / "dense", tmp_path / "m", portable=None)
    again = Again(version, folder / "here" / "dense")
    answer = await ask(version, again)

    assert again.times == 1
    assert not answer.portable
    close("dense", answer.y)


async def test_failed_recompilation_is_explained(folder: Path, tmp_path: Path) -> None:
    """For example, a cache in a container image."""
    version = edited(folder / "there" / "dense", tmp_path / "m", portable=None)
    kept = shutil.copytree(tmp_path / "m", tmp_path / "kept")

    with pytest.raises(LoadFailed, match=r"another kind of machine.*--cache-dir"):
        await ask(version, Again(version, kept))


@pytest.mark.parametrize("foreign", [True, False])
async def test_failing_form_is_replaced_by_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, foreign: bool
) -> None:
    """Machines may differ in more than their known kind."""
    version = edited(folder / "here" / "dense", tmp_path / "m")
    run, failing = Servable.run, [False] if not foreign else [False, True]
    opened: list[bool] = []
    read_graph = Artifact.read_graph

    def read(self: Artifact, manifest: Any, *, portable: bool = False) -> bytes:
        opened.append(portable)
        return read_graph(self, manifest, portable=portable)

    def fail(self: Servable, *arguments: Any) -> Any:
        if opened[-1] in failing:
            raise ExecutionFailed(
                "Fusion is not implemented: [BiasAdd,_FusedHardSwish]"
            )
        return run(self, *arguments)

    monkeypatch.setattr(Artifact, "read_graph", read)
    monkeypatch.setattr(Servable, "run", fail)
    monkeypatch.setattr(travelling, "takes_portable", lambda *_: opened[-1])

    if not foreign:
        answer = await ask(version)
        assert answer.portable
        close("dense", answer.y)
        return

    other = edited(folder / "there" / "dense", tmp_path / "n")

    with pytest.raises(LoadFailed, match="Fusion is not implemented"):
        await ask(other, Again(other, folder / "there" / "dense"))


async def test_model_without_a_working_sample_is_served(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros may be invalid for it on any machine."""
    version = edited(folder / "there" / "dense", tmp_path / "m", warms_up=False)
    warm_up = Servable.warm_up

    def refuse(self: Servable) -> None:
        warm_up(self)
        raise ExecutionFailed("zeros")

    monkeypatch.setattr(Servable, "warm_up", refuse)
    answer = await ask(version)
    assert answer.portable
    close("dense", answer.y)
