"""Real engines over models without files."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from inference import Engine, EngineConfig
from inference import engine as engine_module
from tests.support.shelf import FakeLoader, snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    import pytest

    from inference.repository.snapshot import RepositorySnapshot


class FakeCall:
    """Scans of a repository that holds what a test sets."""

    def __init__(self) -> None:
        self.sight: Mapping[str, Mapping[int, str]] = {}
        self.error: Exception | None = None

    async def call(self) -> RepositorySnapshot:
        if self.error is not None:
            raise self.error

        return snapshot(self.sight)


@asynccontextmanager
async def serving(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    sight: Mapping[str, Mapping[int, str]],
    *,
    budget: int,
) -> AsyncIterator[tuple[Engine, FakeLoader, FakeCall]]:
    loader, repository = FakeLoader(), FakeCall()
    repository.sight = sight
    monkeypatch.setattr(engine_module, "Loader", lambda *_: loader)
    monkeypatch.setattr(engine_module, "DaemonCall", lambda *_, **__: repository)
    config = EngineConfig(
        repository=folder, cache=folder / "cache", memory_budget=budget
    )

    async with Engine(config) as engine:
        await engine.rescan()
        yield engine, loader, repository
