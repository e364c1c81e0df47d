"""A model file to a servable that is mapped, measured and warm."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from inference.artifacts.artifact import DamagedArtifact
from inference.errors import LoadFailed
from inference.repository.sidecar import read_sidecar, sidecar_errors
from inference.repository.sidecar_limits import limits_with
from inference.runtime.footprint import expected_bytes
from inference.runtime.opening import ForeignArtifact, open_artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inference.artifacts.artifact import Manifest
    from inference.artifacts.builder import ArtifactBuilder, Compiled
    from inference.limits import Batching, Limits
    from inference.repository.scan import ModelFiles
    from inference.runtime.servable import Servable
    from inference.runtime.tuning import Tuning

log = structlog.get_logger("tandem.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A version that can be loaded at any time: its artifact, how it is to be called.

    `plans` has each signature's batching; `nbytes` is what it is expected to take.
    """

    files: ModelFiles
    compiled: Compiled
    limits: Limits
    plans: Mapping[str, Batching]

    @property
    def nbytes(self) -> int:
        return expected_bytes(self.compiled.manifest)

    def same_as(self, other: Prepared) -> bool:
        """Whether loading it would give what loading `other` gave."""
        return (self.compiled.artifact, self.limits, self.plans) == (
            other.compiled.artifact,
            other.limits,
            other.plans,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A servable and how it is to be called.

    `plans` has each signature's batching. `seconds` is what mapping and warming took,
    and `nbytes` what it took of memory; `fresh` says that it was compiled for that.
    """

    servable: Servable
    limits: Limits
    plans: Mapping[str, Batching]
    concurrency: int
    seconds: float
    fresh: bool
    nbytes: int = 0


class Loader:
    """Opens one model at a time: what is measured then isn't disturbed by another."""

    def __init__(self, builder: ArtifactBuilder, limits: Limits) -> None:
        self._builder = builder
        self._limits = limits
        self._limiter = anyio.CapacityLimiter(1)
        self._serving = False
        self._tunings: dict[str, _Tuned] = {}

    async def prepare(
        self, files: ModelFiles, report: Callable[[str], None], *, retry: bool = False
    ) -> Prepared:
        """The model of `files`, compiled; `report` hears each stage.

        With `retry`, a refusal that is remembered doesn't count. Raises
        `InferenceError` with what is wrong with it.
        """
        sidecar = read_sidecar(files.sidecar)

        with sidecar_errors(files.sidecar):
            limits = limits_with(sidecar, self._limits)

        # Until the first model serves there is nobody to make way for.
        compiled = await self._builder.build(
            files, report, retry=retry, background=self._serving
        )

        with sidecar_errors(files.sidecar):
            plans = limits.plans(compiled.manifest.signatures)

        return Prepared(files=files, compiled=compiled, limits=limits, plans=plans)

    async def open(self, prepared: Prepared) -> Loaded:
        """The prepared version in memory, ready to be called.

        An artifact that was damaged or removed is made again, and so is one that was
        made on another kind of machine and doesn't run on this one. Raises
        `InvalidModel` where the recorded requests fail, `LoadFailed` otherwise.
        """
        try:
            return await self._open_once(prepared)
        except (DamagedArtifact, ForeignArtifact) as exc:
            log.warning("compiled model is of no use", reason=str(exc))

        again = await self._mend(prepared)

        try:
            return await self._open_once(again)
        except DamagedArtifact as exc:
            raise LoadFailed(f"The compiled model is damaged: {exc}.") from exc
        except ForeignArtifact as exc:
            raise LoadFailed(
                f"The compiled model was made on another kind of machine "
                f"({again.compiled.manifest.machine}) and doesn't run on this one: "
                f"{exc} Remove {again.compiled.artifact.folder}, which can't be "
                "written to, or name another folder with --cache-dir."
            ) from exc

    async def _mend(self, prepared: Prepared) -> Prepared:
        prepared.compiled.artifact.discard()
        again = await self.prepare(prepared.files, lambda _: None)

        if again.compiled.artifact != prepared.compiled.artifact:
            raise LoadFailed(
                "The compiled model is damaged, and the files that it was made of "
                "have changed since."
            )

        return again

    async def _open_once(self, prepared: Prepared) -> Loaded:
        try:
            opened = await anyio.to_thread.run_sync(
                partial(open_artifact, background=self._serving),
                prepared,
                self._before(prepared),
                limiter=self._limiter,
            )
        except (MemoryError, OSError) as exc:
            raise LoadFailed(f"The compiled model can't be mapped: {exc}.") from exc

        self._serving = True
        self._tunings[prepared.files.id.name] = _Tuned(
            manifest=prepared.compiled.manifest, tuning=opened.tuning
        )
        return Loaded(
            servable=opened.servable,
            limits=prepared.limits,
            plans=prepared.plans,
            concurrency=opened.tuning.concurrency,
            seconds=opened.seconds,
            fresh=prepared.compiled.fresh,
            nbytes=max(prepared.nbytes, opened.nbytes),
        )

    def _before(self, prepared: Prepared) -> Tuning | None:
        """What was found for a version of the model that is like this one."""
        found = self._tunings.get(prepared.files.id.name)

        if found is None or not _alike(found.manifest, prepared.compiled.manifest):
            return None

        return found.tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tuned:
    """How the version that was loaded last is called."""

    manifest: Manifest
    tuning: Tuning


def _alike(one: Manifest, other: Manifest) -> bool:
    """Whether they differ in their weights' values, as trained again, and no more."""
    return _shape(one) == _shape(other)


def _shape(manifest: Manifest) -> object:
    weights = [(weight.dtype, weight.shape) for weight in manifest.weights]
    return manifest.signatures, weights, manifest.control_flow
