"""Builds of artifacts by the compiler's child, unless they are cached."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from inference import errors
from inference.artifacts.cache import ArtifactCache, CachedRefusal, artifact_key
from inference.artifacts.child import run_child
from inference.artifacts.failures import timeout_text
from inference.artifacts.inventory import Hold, hold, prune
from inference.artifacts.messages import CompileRequest
from inference.artifacts.sample_digest import with_samples
from inference.errors import InferenceError, InvalidModel, LoadFailed
from inference.permissions import Permissions
from inference.repository.checksums import UNVERIFIED, verify
from inference.repository.digest import digest_source
from inference.repository.sidecar import read_sidecar
from inference.system.blocking import in_threads
from inference.system.cpus import available_cpus
from inference.system.memory import available_memory
from inference.system.priority import lower_priority
from inference.system.troubles import troubles_told
from inference.system.versions import own_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from inference.artifacts.artifact import Artifact, Manifest
    from inference.artifacts.messages import CompileEvent
    from inference.config import EngineConfig
    from inference.repository.digest import SourceDigest
    from inference.repository.scan import ModelFiles
    from inference.repository.sidecar import Sidecar

    Report = Callable[[str], None]

MEMORY_SHARE = 0.75
"""Of the available memory: the default limit of one compiler."""

log = structlog.get_logger("tandem.engine")

# TensorFlow and Keras alone reserve more than half of this.
_LEAST_MEMORY = 2**30

# The interval at which to check whether another process has compiled the model:
# a lock between processes can't wake a task.
_LOCK_POLL_SECONDS = 0.2
_MAX_CPU_SECONDS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """An artifact and its manifest; a `fresh` one was compiled now, not cached.

    `integrity` is `verified` if the source's files match the checksums beside them.
    `hold` keeps the artifact from being pruned.
    """

    artifact: Artifact
    manifest: Manifest
    fresh: bool
    integrity: str = UNVERIFIED
    hold: Hold | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """The build of one model. `retry` ignores a cached failure."""

    files: ModelFiles
    sidecar: Sidecar
    key: str
    source: SourceDigest
    integrity: str
    report: Report
    retry: bool
    background: bool


class ArtifactBuilder:
    """Builder of artifacts into a cache.

    `memory_limit` of one compiler, and `cache_bytes` of all artifacts, are in bytes.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        *,
        timeout_seconds: float,
        permissions: Permissions | None = None,
        memory_limit: int | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        self._cache = cache
        self.permissions = permissions or Permissions()
        self._timeout = timeout_seconds
        self._cache_bytes = cache_bytes
        self._memory = memory_limit or _default_memory()
        # A compiler mostly imports, on one CPU, but takes many times the model's size.
        self._children = anyio.CapacityLimiter(min(2, available_cpus()))
        self._readers = anyio.CapacityLimiter(2)
        self._swept = False

    async def build(
        self,
        files: ModelFiles,
        report: Report,
        *,
        sidecar: Sidecar | None = None,
        retry: bool = False,
        background: bool = False,
    ) -> Compiled:
        """Return a model's artifact, compiled if need be; `report` gets each stage.

        `sidecar` is that of `files`, if it was read already.
        Raises `InvalidModel` or `InvalidSidecar` with the reason, and `LoadFailed`
        where the machine is the cause; a cached failure is raised again, unless
        `retry`. In the `background`, the compiler takes only the CPU time that the
        serving models leave.
        """
        with self._cache_errors():
            return await self._build(
                files,
                sidecar or await self._sidecar(files),
                report,
                retry=retry,
                background=background,
            )

    async def _build(
        self,
        files: ModelFiles,
        sidecar: Sidecar,
        report: Report,
        *,
        retry: bool,
        background: bool,
    ) -> Compiled:
        report("hashing")

        await self._sweep()
        source, integrity = await self._read(files, sidecar)
        shaping = sidecar.shaping() + self.permissions.shaping()
        build = _Build(
            files=files,
            sidecar=sidecar,
            key=artifact_key(source, shaping),
            source=source,
            integrity=integrity,
            report=report,
            retry=retry,
            background=background,
        )
        found = await self._found(build)

        if found is not None:
            return found

        report("waiting for the compiler")

        async with self._children:
            return await self._compile_once(build)

    async def _sidecar(self, files: ModelFiles) -> Sidecar:
        with troubles_told(files.path):
            return await anyio.to_thread.run_sync(
                read_sidecar, files.sidecar, limiter=self._readers
            )

    async def _sweep(self) -> None:
        """Remove the remains of killed servers, once."""
        if not self._swept:
            self._swept = True
            await anyio.to_thread.run_sync(self._cache.sweep, limiter=self._readers)

    async def _read(
        self, files: ModelFiles, sidecar: Sidecar
    ) -> tuple[SourceDigest, str]:
        try:
            with troubles_told(files.path):
                return await anyio.to_thread.run_sync(
                    _digest_and_verify,
                    files,
                    sidecar,
                    self.permissions.follow_links_to,
                    limiter=self._readers,
                )
        except OSError as exc:
            raise InvalidModel(
                f"{files.path.name} can't be read: {exc.strerror}."
            ) from exc

    async def _found(self, build: _Build) -> Compiled | None:
        return await anyio.to_thread.run_sync(self._find, build, limiter=self._readers)

    def _find(self, build: _Build) -> Compiled | None:
        """Return the artifact, if it is cached. Raises a cached failure."""
        found = self._cache.find(build.key)

        if found is not None:
            artifact, manifest = found
            return Compiled(
                artifact=artifact,
                manifest=manifest,
                fresh=False,
                integrity=build.integrity,
                hold=hold(artifact),
            )

        refusal = self._cache.refusal(build.key, self._circumstances(build))

        if refusal is not None and not build.retry:
            raise _error(refusal.error_type, refusal.error)

        return None

    @contextmanager
    def _cache_errors(self) -> Iterator[None]:
        try:
            with troubles_told(self._cache.folder):
                yield
        except OSError as exc:
            raise LoadFailed(
                f"The compiled model can't be written to {self._cache.folder}: "
                f"{exc.strerror}. Name a folder that can be, with --cache-dir, or "
                "compile ahead of time with tandem compile."
            ) from exc

    async def _compile_once(self, build: _Build) -> Compiled:
        while True:
            lock = in_threads(self._cache.try_lock(build.key), self._readers)

            async with lock as locked:
                found = await self._found(build)

                if found is not None:
                    return found

                if locked:
                    return await self._compile(build)

            await anyio.sleep(_LOCK_POLL_SECONDS)

    async def _compile(self, build: _Build) -> Compiled:
        async with in_threads(self._cache.scratch(), self._readers) as folder:
            event = await self._run(build, folder)
            await self._check_unchanged(build)

            if event.manifest is None:
                await anyio.to_thread.run_sync(
                    self._cache_failure, event, build, folder, limiter=self._readers
                )
                raise _error(event.error_type, event.error)

            manifest = _with_source(event.manifest, build)
            return await anyio.to_thread.run_sync(
                self._publish, folder, build, manifest, limiter=self._readers
            )

    def _publish(self, folder: Path, build: _Build, manifest: Manifest) -> Compiled:
        artifact = self._cache.publish(folder, build.key, manifest)
        compiled = Compiled(
            artifact=artifact,
            manifest=manifest,
            fresh=True,
            integrity=build.integrity,
            hold=hold(artifact),
        )
        self._keep_to_limit()
        return compiled

    def _keep_to_limit(self) -> None:
        """Remove the least recently used artifacts that no server uses."""
        if self._cache_bytes is None:
            return

        # The new artifact serves even where old ones can't be removed.
        with suppress(OSError):
            for each in prune(
                self._cache.folder, now=time.time(), max_bytes=self._cache_bytes
            ):
                log.info("compiled model removed", model=each.model, bytes=each.nbytes)

    async def _run(self, build: _Build, folder: Path) -> CompileEvent:
        request = self._request(build, folder)

        try:
            with anyio.fail_after(self._timeout):
                return await run_child(request, build.report)
        except TimeoutError:
            # A busy machine takes longer: the same files are tried again.
            raise LoadFailed(timeout_text(request, self._timeout)) from None

    def _request(self, build: _Build, folder: Path) -> CompileRequest:
        files = build.files
        cpu_seconds = math.ceil(min(self._timeout * available_cpus(), _MAX_CPU_SECONDS))
        return CompileRequest(
            # The child works in another folder.
            path=str(files.path.absolute()),
            sidecar=str(files.sidecar.absolute()) if files.sidecar else None,
            warmup=str(files.warmup.absolute()) if files.warmup else None,
            folder=str(folder.absolute()),
            permissions=self.permissions,
            memory_bytes=self._memory,
            cpu_seconds=cpu_seconds,
            background=build.background,
        )

    async def _check_unchanged(self, build: _Build) -> None:
        """Raise `InvalidModel` if the files changed during compilation."""
        sidecar = await self._sidecar(build.files)
        source, _ = await self._read(build.files, sidecar)
        now = source.content, sidecar.shaping()

        if now != (build.source.content, build.sidecar.shaping()):
            raise InvalidModel(
                f"{build.files.path.name} changed while it was read. Move finished "
                "files into the repository."
            )

    def _cache_failure(self, event: CompileEvent, build: _Build, folder: Path) -> None:
        if not event.lasting:
            return

        refusal = CachedRefusal(
            circumstances=self._circumstances(build),
            error=event.error or "",
            error_type=event.error_type,
        )

        # A refusal that can't be kept must not hide the model's own error.
        with suppress(OSError):
            self._cache.refuse(folder, build.key, refusal)

    def _circumstances(self, build: _Build) -> str:
        """Return the conditions of an error besides the files' content."""
        sidecar = build.files.sidecar.name if build.files.sidecar else None
        bound, links = self.permissions.memory_bytes, self.permissions.follow_links_to
        folder = f"{build.source.listing} {sorted(map(str, links))}"
        return f"{build.files.path.name} {sidecar} {bound} {folder} {own_version()}"


def _default_memory() -> int:
    return max(int(available_memory() * MEMORY_SHARE), _LEAST_MEMORY)


def _digest_and_verify(
    files: ModelFiles, sidecar: Sidecar, follow: Iterable[Path]
) -> tuple[SourceDigest, str]:
    lower_priority()
    source = with_samples(digest_source(files.path), files, sidecar, follow)
    return source, verify(files, source.files)


def _error(error_type: str, text: str | None) -> InferenceError:
    kind = getattr(errors, error_type, InvalidModel)
    assert issubclass(kind, InferenceError)
    return kind(text or "")


def _with_source(manifest: Manifest, build: _Build) -> Manifest:
    return manifest.model_copy(
        update={
            "model": str(build.files.id),
            "source": build.files.path.name,
            "source_bytes": build.source.nbytes,
            "source_sha256": build.source.sha256,
        }
    )


def builder_for(config: EngineConfig) -> ArtifactBuilder:
    """Return the builder of an engine's artifacts."""
    # A model over the budget could never be loaded, so it isn't worth compiling.
    permissions = config.permissions.model_copy(update={"memory_bytes": config.budget})
    return ArtifactBuilder(
        ArtifactCache(config.cache),
        timeout_seconds=config.compile_timeout_seconds,
        permissions=permissions,
        memory_limit=config.compile_memory,
        cache_bytes=config.cache_bytes,
    )
