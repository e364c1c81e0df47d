"""Classify and regress of real models, in process: one export of an Estimator."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference import Engine, EngineConfig, Limits
from inference.artifacts.cache import ArtifactCache
from inference.repository.snapshot import RepositoryScanner
from tests.support.children import put
from tests.support.clients import make_client
from tests.support.repositories import settled

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.support.compiled_cases import CompiledCases

CASE = "saved_tf1_estimator"
WORDS = [{"word": "bad"}, {"word": "unheard"}, {"word": "good"}]


@pytest.fixture
def config(compiled: CompiledCases, tmp_path: Path) -> EngineConfig:
    """A repository of the one model, and its artifact."""
    shutil.copytree(compiled.case(CASE).path, tmp_path / "models/words/1")
    config = EngineConfig(
        repository=tmp_path / "models",
        cache=tmp_path / "cache",
        limits=Limits(concurrency=1, intra_op_threads=1),
    )
    (files,) = RepositoryScanner(config.repository, quiet_seconds=0).scan().wanted()
    put(ArtifactCache(config.cache), files, compiled.artifact(CASE))
    return config


async def test_an_estimator_classifies_and_regresses(
    config: EngineConfig, compiled: CompiledCases
) -> None:
    scores = compiled.case(CASE).examples[0].outputs["scores"]

    async with Engine(config) as engine, make_client(engine) as client:
        await settled(engine)
        # The features of a context go to each example.
        classified = await ask(client, "classify", examples=[{}] * 2, context=WORDS[0])
        regressed = await ask(
            client, "regress", examples=WORDS, signature_name="regress"
        )
        by_name = await ask(
            client,
            "regress",
            examples=[{"words": "bad"}, {"words": "good"}],
            signature_name="best",
        )
        wrong = await ask(client, "classify", examples=[{"word": 1}])
        metadata = await client.get("/v1/models/words/metadata")

    row = [["down", pytest.approx(scores[0, 0])], ["up", pytest.approx(scores[0, 1])]]
    best = scores.max(1)
    assert classified.json() == {"results": [row, row]}
    np.testing.assert_allclose(regressed.json()["results"], best, atol=1e-6)
    np.testing.assert_allclose(by_name.json()["results"], best[[0, 2]], atol=1e-6)
    assert wrong.status_code == 400
    assert "word" in wrong.json()["error"]
    assert methods(metadata.json()) == {
        "serving_default": "tensorflow/serving/classify",
        "best": "tensorflow/serving/predict",
        "predict": "tensorflow/serving/predict",
        "regress": "tensorflow/serving/regress",
    }


async def ask(client: httpx.AsyncClient, method: str, **body: Any) -> httpx.Response:
    return await client.post(f"/v1/models/words:{method}", json=body)


def methods(document: Any) -> dict[str, str]:
    definitions = document["metadata"]["signature_def"]["signature_def"]
    return {name: each["method_name"] for name, each in definitions.items()}
