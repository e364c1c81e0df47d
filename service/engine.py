"""What the service asks of an engine; `inference.Engine` is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from inference import ModelSpec, ModelStatus, PredictRequest, PredictResult


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

    async def predict(self, request: PredictRequest) -> PredictResult:
        """Run a model. Raises any `InferenceError`."""
