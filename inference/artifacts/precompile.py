"""Compiling a repository ahead of time, without serving it."""

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
    """A model's artifact, or the reason why there is none.

    `folder` is `None`, and so is `manifest`, where `error` is given.
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
    """All models that a repository serves, and what of it was passed over."""

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
    """Compile what isn't in the cache yet; `report` hears each model's stages.

    What was allowed is part of an artifact's key: a server finds those that were made
    under the same `permissions`. `memory_limit` is what one compiler may take, in
    bytes. Raises `OSError` where the repository can't be read.
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
