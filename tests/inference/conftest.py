from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference import EngineConfig, Limits
from tests.support.repositories import fill_repository

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.compiled_cases import CompiledCases


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    """An empty repository and an empty cache; nothing is measured for its models."""
    (tmp_path / "models").mkdir()
    return EngineConfig(
        repository=tmp_path / "models",
        cache=tmp_path / "cache",
        limits=Limits(concurrency=2, intra_op_threads=1),
    )


@pytest.fixture
def served(compiled: CompiledCases, config: EngineConfig) -> EngineConfig:
    """A repository of all formats, its artifacts in the cache."""
    fill_repository(compiled, config)
    return config
