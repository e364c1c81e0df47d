"""The examples of the OpenAPI document, sent as they are to the models they are for."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from inference import Engine, EngineConfig, Limits
from inference.artifacts.cache import ArtifactCache
from inference.repository.snapshot import RepositoryScanner
from tests.support.children import put
from tests.support.clients import make_client
from tests.support.compiled_cases import sidecar_of
from tests.support.repositories import settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.compiled_cases import CompiledCases

CASES = (
    *("h5_two_in_two_out", "h5_masked", "zip_string_lookup", "zip_half_precision"),
    *("frozen_unknown_rank", "frozen_fixed_batch", "frozen_training_flag"),
    *("frozen_conv_norm", "frozen_strings", "saved_dtypes", "saved_sidecar"),
    *("saved_half_plus_two", "saved_tf1_estimator", "saved_tf2_table"),
)
WITHOUT = {"frozen_strings"}
"""No values are known that it takes."""


@pytest.fixture
def config(compiled: CompiledCases, tmp_path: Path) -> EngineConfig:
    """A repository of a model for each case, and their artifacts."""
    models = tmp_path / "models"
    for name in CASES:
        add_case(compiled, name, models / name)

    config = EngineConfig(
        repository=models,
        cache=tmp_path / "cache",
        limits=Limits(concurrency=1, intra_op_threads=1),
    )
    cache = ArtifactCache(config.cache)
    for files in RepositoryScanner(models, quiet_seconds=0).scan().wanted():
        put(cache, files, compiled.artifact(files.id.name))

    return config


def add_case(compiled: CompiledCases, name: str, folder: Path) -> None:
    """Put a case into a repository as the model in `folder`."""
    path = compiled.case(name).path
    sidecar = sidecar_of(path)
    if path.is_dir():
        shutil.copytree(path, folder / "1")
    else:
        (folder / "1").mkdir(parents=True)
        shutil.copy(path, folder / "1" / path.name)

    if sidecar is not None:
        shutil.copy(sidecar, folder / "model.toml")


def examples(document: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield the path, the name and the body of each example of a model's call."""
    for path, item in document["paths"].items():
        body = item.get("post", {}).get("requestBody", {})
        shown = body.get("content", {}).get("application/json", {}).get("examples", {})
        for name, example in shown.items():
            yield path, name, example["value"]


async def test_every_example_is_answered(config: EngineConfig) -> None:
    async with Engine(config) as engine, make_client(engine) as client:
        await settled(engine)
        document = (await client.get("/openapi.json")).json()
        shown = list(examples(document))
        answers = [
            (path, name, body, await client.post(path, json=body))
            for path, name, body in shown
        ]

    wrong = [
        (path, name, body, answer.text)
        for path, name, body, answer in answers
        if answer.status_code != 200
    ]
    assert wrong == []
    paths = {path for path, _, _ in shown}
    assert {f"/v1/models/{name}:predict" for name in CASES} - paths == {
        f"/v1/models/{name}:predict" for name in WITHOUT
    }
    assert "/v1/models/saved_half_plus_two:regress" in paths
    assert "/v2/models/h5_two_in_two_out/infer" in paths
