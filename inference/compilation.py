"""Runs the compiler in a child process, unless the artifact is there already."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.streams.text import TextReceiveStream
from pydantic import ValidationError

from inference import errors
from inference.artifact_cache import ArtifactCache, artifact_key, digest_source
from inference.compiler_messages import CompileEvent, CompileRequest
from inference.cpus import available_cpus
from inference.errors import InferenceError, InvalidModel, LoadFailed
from inference.permissions import Permissions
from inference.sidecar import read_sidecar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from anyio.abc import Process

    from inference.artifact import Artifact, Manifest
    from inference.artifact_cache import SourceDigest
    from inference.repository import ModelFiles

    Report = Callable[[str], None]

# How often a process looks whether another has finished compiling the same model:
# a lock between processes can't wake a task.
_LOCK_POLL_SECONDS = 0.2
_LAST_WORDS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """An artifact, its manifest, and whether it had to be made now."""

    artifact: Artifact
    manifest: Manifest
    fresh: bool


class Compilation:
    """Compiles models into a cache, two at a time at most: a compiler spends most of
    its time importing on one CPU, but its memory is many times the model's file.
    """

    def __init__(
        self,
        cache: ArtifactCache,
        *,
        timeout_seconds: float,
        permissions: Permissions | None = None,
    ) -> None:
        self._cache = cache
        self._permissions = permissions or Permissions()
        self._timeout = timeout_seconds
        self._children = anyio.CapacityLimiter(min(2, available_cpus()))
        self._readers = anyio.CapacityLimiter(2)

    async def compile(self, files: ModelFiles, report: Report) -> Compiled:
        """The artifact of a model; `report` hears each stage.

        Raises `InvalidModel` or `InvalidSidecar` with what is wrong with the model.
        """
        sidecar = read_sidecar(files.sidecar)
        report("hashing")

        source = await self._digest(files.path)
        shaping = sidecar.shaping() + self._permissions.shaping()
        key = artifact_key(source, shaping)
        found = self._cache.find(key)

        if found is not None:
            return Compiled(artifact=found[0], manifest=found[1], fresh=False)

        report("waiting for the compiler")

        with self._blaming_cache():
            async with self._children:
                return await self._compile_once(files, key, source, report)

    async def _digest(self, path: Path) -> SourceDigest:
        try:
            return await anyio.to_thread.run_sync(
                digest_source, path, limiter=self._readers
            )
        except OSError as exc:
            raise InvalidModel(f"{path.name} can't be read: {exc.strerror}.") from exc

    @contextmanager
    def _blaming_cache(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise LoadFailed(
                f"The compiled model can't be written to {self._cache.folder}: "
                f"{exc.strerror}. Name a folder that can be, with --cache-dir, or "
                "compile ahead of time with tandem compile."
            ) from exc

    async def _compile_once(
        self, files: ModelFiles, key: str, source: SourceDigest, report: Report
    ) -> Compiled:
        while True:
            with self._cache.try_lock(key) as locked:
                found = self._cache.find(key)

                if found is not None:
                    return Compiled(artifact=found[0], manifest=found[1], fresh=False)

                if locked:
                    return await self._run(files, key, source, report)

            await anyio.sleep(_LOCK_POLL_SECONDS)

    async def _run(
        self, files: ModelFiles, key: str, source: SourceDigest, report: Report
    ) -> Compiled:
        with self._cache.scratch() as folder:
            request = CompileRequest(
                path=str(files.path),
                sidecar=str(files.sidecar) if files.sidecar else None,
                folder=str(folder),
                permissions=self._permissions,
            )

            try:
                with anyio.fail_after(self._timeout):
                    event = await run_child(request, report)
            except TimeoutError:
                raise InvalidModel(
                    f"Compiling {files.path.name} took longer than {self._timeout:g} "
                    "s. Give it more time with --compile-timeout, or compile it ahead "
                    "of time with tandem compile."
                ) from None

            manifest = _manifest(event, files.path, source)
            artifact = self._cache.publish(folder, key, manifest)

        return Compiled(artifact=artifact, manifest=manifest, fresh=True)


async def run_child(request: CompileRequest, report: Report) -> CompileEvent:
    """Run the compiler on `request`; returns its last event, an error or the manifest.

    A child that ends without one, killed or crashed, is an error too.
    """
    last = CompileEvent()
    words: list[str] = []
    command = [sys.executable, "-P", "-m", "inference.compiler"]

    async with (
        await anyio.open_process(command) as process,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(partial(_collect, process, words))
        await _tell(process, request)

        async for event in _events(process):
            if event.stage is not None:
                report(event.stage)
            else:
                last = event

    if last == CompileEvent():
        return CompileEvent(error=_crashed(process.returncode, "".join(words)))

    return last


async def _tell(process: Process, request: CompileRequest) -> None:
    assert process.stdin is not None

    try:
        await process.stdin.send(request.model_dump_json().encode())
        await process.stdin.aclose()
    except (anyio.BrokenResourceError, ConnectionError):
        # The child is gone; how it ended says why.
        return


async def _events(process: Process) -> AsyncIterator[CompileEvent]:
    assert process.stdout is not None
    rest = ""

    async for text in TextReceiveStream(process.stdout):
        *lines, rest = (rest + text).split("\n")

        for line in lines:
            try:
                yield CompileEvent.model_validate_json(line)
            except ValidationError:
                continue


async def _collect(process: Process, words: list[str]) -> None:
    assert process.stderr is not None

    async for text in TextReceiveStream(process.stderr, errors="replace"):
        words.append(text)
        words[:] = ["".join(words)[-_LAST_WORDS:]]


def _manifest(event: CompileEvent, path: Path, source: SourceDigest) -> Manifest:
    if event.manifest is None:
        kind = getattr(errors, event.error_type, InvalidModel)
        assert issubclass(kind, InferenceError)
        raise kind(event.error)

    return event.manifest.model_copy(
        update={
            "source": path.name,
            "source_bytes": source.nbytes,
            "source_sha256": source.sha256,
        }
    )


def _crashed(code: int | None, words: str) -> str:
    how = f"was killed by signal {-code}" if code and code < 0 else f"ended with {code}"
    lines = words.strip().splitlines()
    said = f" Its last words: {lines[-1]}" if lines else ""
    return f"The compiler {how} while reading the model.{said}"
