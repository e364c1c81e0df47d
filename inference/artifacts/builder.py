"""Has the compiler's child make an artifact, unless the cache has it already."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from inference import errors
from inference.artifacts.cache import ArtifactCache, CachedRefusal, artifact_key
from inference.artifacts.child import run_child
from inference.artifacts.failures import timeout_text
from inference.artifacts.messages import CompileRequest
from inference.artifacts.sample_digest import with_samples
from inference.errors import InferenceError, InvalidModel, LoadFailed
from inference.permissions import Permissions
from inference.repository.checksums import UNVERIFIED, verify
from inference.repository.digest import digest_source
from inference.repository.sidecar import read_sidecar
from inference.system.cpus import available_cpus
from inference.system.memory import available_memory
from inference.system.own_version import own_version
from inference.system.priority import lower_priority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from inference.artifacts.artifact import Artifact, Manifest
    from inference.artifacts.messages import CompileEvent
    from inference.repository.digest import SourceDigest
    from inference.repository.scan import ModelFiles

    Report = Callable[[str], None]

MEMORY_SHARE = 0.75
"""Of the memory there is, what one compiler may take unless that is given."""

# TensorFlow and Keras alone reserve more than half of it.
_LEAST_MEMORY = 2**30

# How often a process looks whether another has finished compiling the same model:
# a lock between processes can't wake a task.
_LOCK_POLL_SECONDS = 0.2
_MAX_CPU_SECONDS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """An artifact, its manifest, and whether it had to be made now.

    `integrity` is `verified` if the source's files match the checksums beside them.
    """

    artifact: Artifact
    manifest: Manifest
    fresh: bool
    integrity: str = UNVERIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """A model to be compiled. `retry` passes over a refusal that is remembered."""

    files: ModelFiles
    key: str
    source: SourceDigest
    integrity: str
    report: Report
    retry: bool
    background: bool


class ArtifactBuilder:
    """Compiles models into a cache, two at a time at most: a compiler spends most of
    its time importing on one CPU, but its memory is many times the model's file.

    `memory_limit` is what one may take, in bytes.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        *,
        timeout_seconds: float,
        permissions: Permissions | None = None,
        memory_limit: int | None = None,
    ) -> None:
        self._cache = cache
        self._permissions = permissions or Permissions()
        self._timeout = timeout_seconds
        self._memory = memory_limit or _usual_memory()
        self._children = anyio.CapacityLimiter(min(2, available_cpus()))
        self._readers = anyio.CapacityLimiter(2)
        self._swept = False

    async def build(
        self,
        files: ModelFiles,
        report: Report,
        *,
        retry: bool = False,
        background: bool = False,
    ) -> Compiled:
        """The artifact of a model; `report` hears each stage.

        Raises `InvalidModel` or `InvalidSidecar` with what is wrong with the model.
        What the compiler refused before it isn't shown again, unless `retry`. In the
        `background` it takes only what the models that serve leave of the CPUs.
        """
        sidecar = read_sidecar(files.sidecar)
        report("hashing")

        await self._sweep()
        source, integrity = await self._read(files)
        shaping = sidecar.shaping() + self._permissions.shaping()
        task = _Task(
            files=files,
            key=artifact_key(source, shaping),
            source=source,
            integrity=integrity,
            report=report,
            retry=retry,
            background=background,
        )
        found = self._find(task)

        if found is not None:
            return found

        report("waiting for the compiler")

        with self._cache_errors():
            async with self._children:
                return await self._compile_once(task)

    async def _sweep(self) -> None:
        """Remove what a server that was killed has left, once."""
        if not self._swept:
            self._swept = True
            await anyio.to_thread.run_sync(self._cache.sweep, limiter=self._readers)

    async def _read(self, files: ModelFiles) -> tuple[SourceDigest, str]:
        try:
            return await anyio.to_thread.run_sync(
                _digest_and_verify,
                files,
                self._permissions.follow_links_to,
                limiter=self._readers,
            )
        except OSError as exc:
            raise InvalidModel(
                f"{files.path.name} can't be read: {exc.strerror}."
            ) from exc

    def _find(self, task: _Task) -> Compiled | None:
        """The artifact, if it is there; raises the error, if that is remembered."""
        found = self._cache.find(task.key)

        if found is not None:
            artifact, manifest = found
            return Compiled(
                artifact=artifact,
                manifest=manifest,
                fresh=False,
                integrity=task.integrity,
            )

        refusal = self._cache.refusal(task.key, self._circumstances(task))

        if refusal is not None and not task.retry:
            raise _error(refusal.error_type, refusal.error)

        return None

    @contextmanager
    def _cache_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise LoadFailed(
                f"The compiled model can't be written to {self._cache.folder}: "
                f"{exc.strerror}. Name a folder that can be, with --cache-dir, or "
                "compile ahead of time with tandem compile."
            ) from exc

    async def _compile_once(self, task: _Task) -> Compiled:
        while True:
            with self._cache.try_lock(task.key) as locked:
                found = self._find(task)

                if found is not None:
                    return found

                if locked:
                    return await self._compile(task)

            await anyio.sleep(_LOCK_POLL_SECONDS)

    async def _compile(self, task: _Task) -> Compiled:
        with self._cache.scratch() as folder:
            event = await self._run(task, folder)
            await self._expect_unchanged(task)

            if event.manifest is None:
                self._remember(event, task, folder)
                raise _error(event.error_type, event.error)

            manifest = _of_source(event.manifest, task)
            artifact = await anyio.to_thread.run_sync(
                self._cache.publish, folder, task.key, manifest, limiter=self._readers
            )

        return Compiled(
            artifact=artifact, manifest=manifest, fresh=True, integrity=task.integrity
        )

    async def _run(self, task: _Task, folder: Path) -> CompileEvent:
        request = self._request(task, folder)

        try:
            with anyio.fail_after(self._timeout):
                return await run_child(request, task.report)
        except TimeoutError:
            raise InvalidModel(timeout_text(request, self._timeout)) from None

    def _request(self, task: _Task, folder: Path) -> CompileRequest:
        files = task.files
        cpu_seconds = math.ceil(min(self._timeout * available_cpus(), _MAX_CPU_SECONDS))
        return CompileRequest(
            # The child works in another folder.
            path=str(files.path.absolute()),
            sidecar=str(files.sidecar.absolute()) if files.sidecar else None,
            warmup=str(files.warmup.absolute()) if files.warmup else None,
            folder=str(folder.absolute()),
            permissions=self._permissions,
            memory_bytes=self._memory,
            cpu_seconds=cpu_seconds,
            background=task.background,
        )

    async def _expect_unchanged(self, task: _Task) -> None:
        """What the child read must be what was hashed, for good and for bad."""
        source, _ = await self._read(task.files)

        if source.content != task.source.content:
            raise InvalidModel(
                f"{task.files.path.name} changed while it was read. Move finished "
                "files into the repository."
            )

    def _remember(self, event: CompileEvent, task: _Task, folder: Path) -> None:
        if not event.lasting:
            return

        refusal = CachedRefusal(
            circumstances=self._circumstances(task),
            error=event.error or "",
            error_type=event.error_type,
        )
        self._cache.refuse(folder, task.key, refusal)

    def _circumstances(self, task: _Task) -> str:
        """Return what decides an error and its text beside the files' content."""
        sidecar = task.files.sidecar.name if task.files.sidecar else None
        bound, links = self._permissions.memory_bytes, self._permissions.follow_links_to
        folder = f"{task.source.listing} {sorted(map(str, links))}"
        return f"{task.files.path.name} {sidecar} {bound} {folder} {own_version()}"


def _usual_memory() -> int:
    return max(int(available_memory() * MEMORY_SHARE), _LEAST_MEMORY)


def _digest_and_verify(
    files: ModelFiles, follow: Iterable[Path]
) -> tuple[SourceDigest, str]:
    lower_priority()
    source = with_samples(digest_source(files.path), files, follow)
    return source, verify(files, source.files)


def _error(error_type: str, text: str | None) -> InferenceError:
    kind = getattr(errors, error_type, InvalidModel)
    assert issubclass(kind, InferenceError)
    return kind(text or "")


def _of_source(manifest: Manifest, task: _Task) -> Manifest:
    return manifest.model_copy(
        update={
            "source": task.files.path.name,
            "source_bytes": task.source.nbytes,
            "source_sha256": task.source.sha256,
        }
    )
