"""A new version that differs in its weights' values alone isn't measured again."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from threading import get_native_id
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.artifacts.builder import Compiled
from inference.limits import Limits
from inference.repository.scan import ModelFiles
from inference.runtime import opening, tuning
from inference.runtime.loader import Loader, Prepared
from inference.runtime.servable import this_machine
from inference.system.priority import BACKGROUND_STEPS, STEPS
from inference.types import ModelId
from tests.support.graphs import compile_graph, rows

if TYPE_CHECKING:
    from pathlib import Path

RATES = {(1, 4): 50.0, (4, 1): 100.0, (2, 2): 80.0}


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record the folders of measured artifacts, on a machine with four CPUs."""
    folders: list[Any] = []

    def measure(artifact: Any, *_: Any, **__: Any) -> dict[tuple[int, int], float]:
        folders.append(artifact.folder)
        return RATES

    monkeypatch.setattr(tuning, "measure", measure)
    monkeypatch.setattr(opening, "available_cpus", lambda: 4)
    return folders


def version(folder: Path, number: int, *, size: int, name: str = "m") -> Prepared:
    """Make a version with a matrix of `size` rows, filled with `number`."""
    folder = folder / f"{name}-{number}"
    folder.mkdir()
    matrix = np.full((size, 64), number, np.float32)
    artifact = compile_graph(folder, partial(multiply, matrix))
    manifest = artifact.read_manifest()
    compiled = Compiled(artifact=artifact, manifest=manifest, fresh=True)
    files = ModelFiles(id=ModelId(name, number), path=folder / "model.pb")
    limits = Limits()
    return Prepared(
        files=files,
        compiled=compiled,
        limits=limits,
        plans=limits.plans(manifest.signatures),
    )


def multiply(matrix: Any) -> Any:
    return rows("x", len(matrix)) @ matrix


async def open_all(*versions: Prepared) -> list[int]:
    """Load each version; return the concurrency of each."""
    loader = Loader(None, Limits())  # type: ignore[arg-type]
    opened = [await loader.open(each) for each in versions]

    for each in opened:
        each.servable.close()

    return [each.concurrency for each in opened]


async def test_another_version_of_the_same_shape_isnt_measured(
    tmp_path: Path, measured: list[Any]
) -> None:
    first, second = (version(tmp_path, number, size=64) for number in (1, 2))
    assert first.compiled.manifest.weights
    assert await open_all(first, second) == [4, 4]
    assert measured == [first.compiled.artifact.folder]


async def test_reused_measurements_are_kept_on_disk(
    tmp_path: Path, measured: list[Any]
) -> None:
    first, second = (version(tmp_path, number, size=64) for number in (1, 2))
    await open_all(first, second)
    assert await open_all(second) == [4]
    assert measured == [first.compiled.artifact.folder]


@pytest.mark.parametrize(
    "other", [pytest.param({"size": 128}, id="shape"), pytest.param({"name": "n"})]
)
async def test_other_shape_or_model_is_measured(
    tmp_path: Path, measured: list[Any], other: dict[str, Any]
) -> None:
    first = version(tmp_path, 1, size=64)
    second = version(tmp_path, 2, **{"size": 64, **other})
    await open_all(first, second)
    assert measured == [each.compiled.artifact.folder for each in (first, second)]


@pytest.mark.skipif(sys.platform != "linux", reason="threads' own priority")
async def test_background_measurement_has_low_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its serving threads have the usual priority afterwards."""
    levels: list[int] = []

    def measure(*_: Any, **__: Any) -> dict[tuple[int, int], float]:
        levels.append(nice_here())
        return RATES

    monkeypatch.setattr(tuning, "measure", measure)
    own = os.getpriority(os.PRIO_PROCESS, os.getpid())
    await open_all(version(tmp_path, 1, size=64), version(tmp_path, 2, size=128))

    first, second = levels
    assert first <= own + STEPS
    assert second == min(own + BACKGROUND_STEPS, 19)
    assert nice_here() == own


async def test_measurements_of_another_form_or_machine_are_not_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder may be on a shared volume, or in an image."""
    artifact = version(tmp_path, 1, size=64).compiled.artifact
    tuning.tune(artifact, cpus=4)
    portable = replace(artifact, portable=True)
    assert tuning.tune(portable, cpus=4).reason == "measured"

    here = this_machine()
    other = here.model_copy(update={"onednn": not here.onednn})
    monkeypatch.setattr(tuning, "this_machine", lambda: other)
    assert tuning.tune(artifact, cpus=4).reason == "measured"
    monkeypatch.setattr("inference.runtime.tuning.cpu_name", lambda: "another")
    assert tuning.tune(artifact, cpus=4).reason == "measured"
    assert tuning.tune(artifact, cpus=4).reason == "measured earlier"


def nice_here() -> int:
    return os.getpriority(os.PRIO_PROCESS, get_native_id())
