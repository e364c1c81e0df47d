"""Ahead-of-time compilation of a repository, without serving it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from inference.artifacts.artifact import signatures_of
from inference.artifacts.builder import ArtifactBuilder
from inference.artifacts.cache import ArtifactCache
from inference.errors import InferenceError
from inference.repository.snapshot import RepositoryScanner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from inference.artifacts.artifact import Manifest
    from inference.permissions import Permissions
    from inference.repository.scan import ModelFiles
    from inference.types import ModelId, Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Precompiled:
    """A model's artifact, or the `error` for which there is none.

    With an `error`, `folder` and `manifest` are `None`.
    """

    id: ModelId
    path: Path
    folder: Path | None = None
    manifest: Manifest | None = None
    error: str | None = None
    fresh: bool = False

    @property
    def signatures(self) -> Mapping[str, Signature]:
        return signatures_of(self.manifest) if self.manifest else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precompilation:
    """All models that a repository serves, and the problems with its entries."""

    models: list[Precompiled]
    problems: list[str]


async def precompile(
    repository: Path,
    cache: Path,
    *,
    timeout_seconds: float,
    report: Callable[[ModelId, str], None],
    permissions: Permissions | None = None,
    memory_limit: int | None = None,
) -> Precompilation:
    """Compile models that aren't cached yet; `report` gets each model's stages.

    The `permissions` are part of an artifact's key: a server with the same ones finds
    it. `memory_limit` of one compiler is in bytes. Raises `OSError` if the repository
    can't be read.
    """
    follow = permissions.follow_links_to if permissions else ()
    scanner = RepositoryScanner(repository, quiet_seconds=0, follow=follow)
    found = await anyio.to_thread.run_sync(
        scanner.scan, limiter=anyio.CapacityLimiter(1)
    )
    builder = ArtifactBuilder(
        ArtifactCache(cache),
        timeout_seconds=timeout_seconds,
        permissions=permissions,
        memory_limit=memory_limit,
    )
    models = [await _compile(builder, files, report) for files in found.wanted()]
    return Precompilation(models=models, problems=found.problems)


async def _compile(
    builder: ArtifactBuilder,
    files: ModelFiles,
    report: Callable[[ModelId, str], None],
) -> Precompiled:
    try:
        compiled = await builder.build(
            files, lambda stage: report(files.id, stage), retry=True
        )
    except InferenceError as exc:
        return Precompiled(id=files.id, path=files.path, error=str(exc))

    return Precompiled(
        id=files.id,
        path=files.path,
        folder=compiled.artifact.folder,
        manifest=compiled.manifest,
        fresh=compiled.fresh,
    )
