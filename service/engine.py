"""What the service asks of an engine; `inference.Engine` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from inference import (
        EngineStatus,
        ModelSpec,
        ModelStatus,
        PredictRequest,
        PredictResult,
    )


class Engine(Protocol):
    """Models by name. To be used on the event loop's thread; nothing here blocks it."""

    def models(self) -> list[ModelStatus]:
        """Every version known, sorted by name, then version; broken ones included."""

    def versions(self, name: str) -> list[ModelStatus]:
        """The versions of one model. Raises `ModelNotFound`."""

    def status(self, spec: ModelSpec) -> ModelStatus:
        """The newest version or the one asked for, whatever its state.

        Raises `ModelNotFound`, `VersionNotFound`.
        """

    def ready(self) -> bool:
        """Whether every version has settled: it is available, or has failed."""

    def admit(self, spec: ModelSpec) -> None:
        """Raises what `predict` would raise now for any inputs of this model."""

    def reserve(self, spec: ModelSpec) -> AbstractContextManager[None]:
        """A block that keeps a place for a request whose body is decoded meanwhile.

        What `admit` raises is raised by the call or at the block's begin.
        """

    async def predict(self, request: PredictRequest) -> PredictResult:
        """Run a model. Raises any `InferenceError`."""

    def overview(self) -> EngineStatus:
        """What the engine as a whole is at."""

    async def load(self, spec: ModelSpec) -> ModelStatus:
        """Load a version that is unloaded, evicted or failed; returns once it serves.

        One that serves stays as it is. Raises `ModelNotFound`, `VersionNotFound`, and
        `LoadFailed` with the reason.
        """

    async def unload(self, spec: ModelSpec) -> list[ModelStatus]:
        """Unload a version, or all of a model's; returns once their memory is free.

        Requests that run end well; later ones raise `ModelUnloaded`. Raises
        `ModelNotFound`, `VersionNotFound`.
        """

    async def rescan(self) -> list[str]:
        """Look at the repository now; its problems, once what changed has settled.

        Raises `Unavailable` if it can't be read.
        """

    async def label(self, name: str, labels: Mapping[str, int | None]) -> None:
        """Set labels, or take them away with `None`: all of them at once or none.

        Loads the versions first where needed. Raises `ModelNotFound`,
        `VersionNotFound`, `LoadFailed`, `InvalidRequest`; then nothing has changed.
        """

    def pin(self, spec: ModelSpec, pinned: bool) -> None:
        """Whether versions may be evicted: one, or all of a model's.

        Raises `ModelNotFound`, `VersionNotFound`.
        """

    def resize(self, spec: ModelSpec, concurrency: int) -> None:
        """How many calls a version, or each of a model's, runs at a time.

        Raises `ModelNotFound`, `VersionNotFound`, `InvalidRequest`.
        """

    def drain(self, draining: bool) -> None:
        """Whether to say not ready, so that clients are sent elsewhere."""
