"""Loading of model files: compiled, mapped, measured and warmed up."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from inference.artifacts.artifact import DamagedArtifact, signatures_of
from inference.errors import LoadFailed
from inference.inputs.images import PLAIN, check_preprocessing, read_preprocessing
from inference.inputs.top_k import check_classes
from inference.repository.classes import read_classes
from inference.repository.sidecar import limits_with, read_sidecar, sidecar_errors
from inference.runtime.footprint import expected_bytes
from inference.runtime.opening import ForeignArtifact, open_artifact
from inference.system.troubles import troubles_told
from inference.types import ModelReport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inference.artifacts.artifact import Manifest
    from inference.artifacts.builder import ArtifactBuilder, Compiled
    from inference.inputs.images import Preprocessing
    from inference.limits import Batching, Limits
    from inference.repository.scan import ModelFiles
    from inference.repository.sidecar import Sidecar
    from inference.runtime.opening import Loaded
    from inference.runtime.tuning import Tuning

log = structlog.get_logger("tandem.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A version that can be loaded at any time: its artifact and its limits.

    `plans` has each signature's batching, `classes` the names of the classes that it
    tells; `nbytes` is the memory that it is expected to take. Its answers may be given
    again for `cache_seconds`; if `asynchronous`, predictions are jobs by default.
    """

    files: ModelFiles
    compiled: Compiled
    limits: Limits
    plans: Mapping[str, Batching]
    classes: tuple[str, ...] = ()
    cache_seconds: float | None = None
    asynchronous: bool = False
    preprocessing: Preprocessing = PLAIN

    @property
    def digest(self) -> str:
        """Digest of what answers depend on, requests apart; equal on all machines."""
        # The folder is named by the hash of the files, of the sidecar's keys that
        # shape the artifact, and of TensorFlow's and Keras' versions.
        parts = (
            self.compiled.artifact.folder.name,
            self.preprocessing,
            *self.classes,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    @property
    def nbytes(self) -> int:
        return expected_bytes(self.compiled.manifest)

    def report(self) -> ModelReport:
        manifest = self.compiled.manifest
        return ModelReport(
            source_bytes=manifest.source_bytes,
            source_sha256=manifest.source_sha256,
            compiled_with=manifest.compiled_with,
            compile_seconds=manifest.compile_seconds,
            optimization=manifest.optimization,
            largest_difference=manifest.largest_difference,
            notes=manifest.notes,
            layers=manifest.layers,
            classes=self.classes,
            preprocessing=asdict(self.preprocessing),
            max_rows={name: plan.max_rows for name, plan in self.plans.items()},
            max_queue=self.limits.max_queue,
            timeout_seconds=self.limits.timeout_seconds,
            asynchronous=self.asynchronous,
            cache_seconds=self.cache_seconds,
        )

    def same_as(self, other: Prepared) -> bool:
        """Return whether loading it gives the same as loading `other`."""
        return self._loaded_from() == other._loaded_from()

    def _loaded_from(self) -> tuple[object, ...]:
        return (
            self.compiled.artifact,
            self.limits,
            self.plans,
            self.classes,
            self.preprocessing,
        )


class Loader:
    """Loader of prepared versions, one at a time.

    `limits` apply where a sidecar doesn't say otherwise.
    """

    def __init__(self, builder: ArtifactBuilder, limits: Limits) -> None:
        self._builder = builder
        self.limits = limits
        # One at a time: a load would disturb another's measurements.
        self._limiter = anyio.CapacityLimiter(1)
        self._readers = anyio.CapacityLimiter(2)
        self._serving = False
        self._tunings: dict[str, _Tuned] = {}

    async def prepare(
        self, files: ModelFiles, report: Callable[[str], None], *, retry: bool = False
    ) -> Prepared:
        """Compile the model of `files`, unless it is cached; `report` gets each stage.

        With `retry`, a cached failure is ignored. Raises `InferenceError` with the
        reason.
        """
        with troubles_told(files.path):
            sidecar, limits, classes = await anyio.to_thread.run_sync(
                self._read_sidecar, files, limiter=self._readers
            )

        # Until the first model serves, there are no requests to make way for.
        compiled = await self._builder.build(
            files, report, sidecar=sidecar, retry=retry, background=self._serving
        )

        with sidecar_errors(files.sidecar):
            plans = limits.plans(compiled.manifest.signatures)
            signatures = signatures_of(compiled.manifest).values()
            check_classes(classes, signatures)
            preprocessing = read_preprocessing(sidecar.preprocess)
            check_preprocessing(preprocessing, signatures)

        return Prepared(
            files=files,
            compiled=compiled,
            limits=limits,
            plans=plans,
            classes=classes,
            cache_seconds=sidecar.cache_seconds,
            asynchronous=sidecar.asynchronous,
            preprocessing=preprocessing,
        )

    def _read_sidecar(
        self, files: ModelFiles
    ) -> tuple[Sidecar, Limits, tuple[str, ...]]:
        sidecar = read_sidecar(files.sidecar)

        with sidecar_errors(files.sidecar):
            limits = limits_with(sidecar, self.limits)
            follow = self._builder.permissions.follow_links_to
            return sidecar, limits, read_classes(files.sidecar, sidecar, follow)

    async def open(self, prepared: Prepared) -> Loaded:
        """Load the prepared version.

        An artifact that is damaged, missing, or of another kind of machine and doesn't
        run on this one is compiled again. Raises `InvalidModel` if the recorded
        requests fail, `LoadFailed` otherwise.
        """
        try:
            return await self._open_once(prepared)
        except (DamagedArtifact, ForeignArtifact) as exc:
            log.warning("compiled model unusable", reason=str(exc))

        again = await self._recompile(prepared)

        try:
            return await self._open_once(again)
        except DamagedArtifact as exc:
            # It was to be made again: only a cache that can't be written to keeps it.
            raise LoadFailed(
                f"The compiled model is damaged: {exc}. Remove "
                f"{again.compiled.artifact.folder}, or name another folder with "
                "--cache-dir."
            ) from exc
        except ForeignArtifact as exc:
            raise LoadFailed(
                f"The compiled model was made on another kind of machine "
                f"({again.compiled.manifest.machine}) and doesn't run on this one: "
                f"{exc} Remove {again.compiled.artifact.folder}, which can't be "
                "written to, or name another folder with --cache-dir."
            ) from exc

    async def _recompile(self, prepared: Prepared) -> Prepared:
        await anyio.to_thread.run_sync(
            prepared.compiled.artifact.discard, limiter=self._readers
        )
        again = await self.prepare(prepared.files, lambda _: None)

        if again.compiled.artifact != prepared.compiled.artifact:
            raise LoadFailed(
                "The compiled model is damaged, and the files that it was made of "
                "have changed since."
            )

        return again

    async def _open_once(self, prepared: Prepared) -> Loaded:
        try:
            with troubles_told(prepared.compiled.artifact.folder):
                loaded, tuning = await anyio.to_thread.run_sync(
                    partial(open_artifact, background=self._serving),
                    prepared,
                    self._similar_tuning(prepared),
                    limiter=self._limiter,
                )
        except OSError as exc:
            raise LoadFailed(f"The compiled model can't be mapped: {exc}.") from exc

        self._serving = True
        self._tunings[prepared.files.id.name] = _Tuned(
            manifest=prepared.compiled.manifest, tuning=tuning
        )
        return loaded

    def _similar_tuning(self, prepared: Prepared) -> Tuning | None:
        """Return the tuning of the last version, if it is like this one."""
        found = self._tunings.get(prepared.files.id.name)

        if found is None or not _are_alike(found.manifest, prepared.compiled.manifest):
            return None

        return found.tuning


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tuned:
    """The tuning of the version that was loaded last."""

    manifest: Manifest
    tuning: Tuning


def _are_alike(one: Manifest, other: Manifest) -> bool:
    """Return whether they differ in their weights' values alone, as if retrained."""
    return _shape(one) == _shape(other)


def _shape(manifest: Manifest) -> object:
    weights = [(weight.dtype, weight.shape) for weight in manifest.weights]
    return manifest.signatures, weights, manifest.control_flow
