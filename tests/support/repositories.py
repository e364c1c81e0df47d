"""A folder of models of all formats, compiled beforehand, and engines that serve it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from inference import ModelSpec, PredictRequest
from inference.artifacts.cache import ArtifactCache
from inference.repository.snapshot import RepositoryScanner
from tests.support.children import put

if TYPE_CHECKING:
    from inference import Engine, EngineConfig, ModelState, PredictResult
    from tests.support.compiled_cases import CompiledCases

LAYOUT = {
    "frozen": ("frozen_conv_norm", "frozen.pb"),
    "keras2": ("h5_keras2_hard_sigmoid", "keras2/3/old.h5"),
    "keras3": ("h5_two_in_two_out", "keras3.h5"),
    "lookup": ("zip_string_lookup", "lookup/model.keras"),
    "saved": ("saved_half_plus_two", "saved/7"),
}
"""A model's name: the case that it is, and where it lies in the repository."""


def fill_repository(compiled: CompiledCases, config: EngineConfig) -> None:
    """Fill the repository with models of all formats, and the cache."""
    for case, place in LAYOUT.values():
        source, target = compiled.case(case).path, config.repository / place
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)

    fill_cache(compiled, config)


def fill_cache(compiled: CompiledCases, config: EngineConfig) -> None:
    cache = ArtifactCache(config.cache)

    for files in RepositoryScanner(config.repository, quiet_seconds=0).scan().wanted():
        if files.id.name in LAYOUT:
            put(cache, files, compiled.artifact(LAYOUT[files.id.name][0]))


async def settled(engine: Engine) -> None:
    while not engine.ready():
        await engine.wait_changed()


async def until(engine: Engine, state: ModelState, *names: str) -> None:
    while {engine.status(ModelSpec(name=name)).state for name in names} != {state}:
        await engine.wait_changed()


async def ask(
    engine: Engine, compiled: CompiledCases, name: str, into: dict[str, PredictResult]
) -> None:
    inputs = compiled.case(LAYOUT[name][0]).examples[0].inputs
    request = PredictRequest(model=ModelSpec(name=name), inputs=inputs)
    into[name] = await engine.predict(request)
