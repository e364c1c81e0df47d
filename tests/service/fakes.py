"""An engine without models: arithmetic behind the real binding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import numpy as np

from inference import (
    LoadFailed,
    ModelId,
    ModelLoading,
    ModelNotFound,
    ModelSpec,
    ModelState,
    ModelStatus,
    Overloaded,
    PredictRequest,
    PredictResult,
    Shape,
    Signature,
    TensorSpec,
    UnknownSignature,
    VersionNotFound,
    bind,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inference import Array

    Function = Callable[[Mapping[str, Array]], dict[str, Array]]


def tensor(
    name: str,
    dtype: str = "float32",
    shape: Shape = None,
    default: Array | None = None,
) -> TensorSpec:
    return TensorSpec(
        name=name, tensor=f"{name}:0", dtype=dtype, shape=shape, default=default
    )


def signature(
    *inputs: TensorSpec, outputs: tuple[str, ...] = ("y",), name: str = "main"
) -> Signature:
    return Signature(
        name=name,
        inputs={item.name: item for item in inputs},
        outputs={item: tensor(item) for item in outputs},
    )


def half_plus_two(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {"y": inputs["x"] * np.float32(0.5) + np.float32(2)}


X = signature(tensor("x"), outputs=("y",), name="serving_default")


@dataclass(kw_only=True)
class FakeModel:
    """One version. `gate`, while it isn't set, holds predictions; `started` tells."""

    name: str = "half"
    version: int = 1
    state: ModelState = ModelState.AVAILABLE
    stage: str = ""
    error: str | None = None
    signatures: tuple[Signature, ...] = (X,)
    function: Function = half_plus_two
    full: bool = False
    gate: anyio.Event | None = None
    started: anyio.Event = field(default_factory=anyio.Event)
    cancelled: bool = False

    @property
    def status(self) -> ModelStatus:
        loaded = self.state is ModelState.AVAILABLE
        return ModelStatus(
            id=ModelId(self.name, self.version),
            path=f"/models/{self.name}",
            state=self.state,
            stage=self.stage,
            error=self.error,
            format="saved_model",
            default_signature=self.signatures[0].name if loaded else None,
            signatures={s.name: s for s in self.signatures} if loaded else {},
        )

    def signature(self, name: str | None) -> Signature:
        for item in self.signatures:
            if name in (None, item.name):
                return item

        raise UnknownSignature(
            f'Serving signature name: "{name}" not found in signature def'
        )

    async def wait(self) -> None:
        self.started.set()
        if self.gate is None:
            return

        try:
            await self.gate.wait()
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise


class FakeEngine:
    """`service.engine.Engine` over `FakeModel`s; `requests` are those it was asked."""

    def __init__(self, *models: FakeModel) -> None:
        self._models = sorted(models, key=lambda model: (model.name, model.version))
        self.requests: list[PredictRequest] = []

    def models(self) -> list[ModelStatus]:
        return [model.status for model in self._models]

    def versions(self, name: str) -> list[ModelStatus]:
        found = [model.status for model in self._models if model.name == name]
        if not found:
            raise ModelNotFound(f"Could not find any versions of model {name}")

        return found

    def status(self, spec: ModelSpec) -> ModelStatus:
        return self._find(spec).status

    def ready(self) -> bool:
        settled = (ModelState.AVAILABLE, ModelState.END)
        return all(model.state in settled for model in self._models)

    def admit(self, spec: ModelSpec) -> None:
        model = self._find(spec)
        if model.error is not None:
            raise LoadFailed(f"model {model.status.id} failed: {model.error}")

        if model.state is not ModelState.AVAILABLE:
            raise ModelLoading(f"model {model.status.id} is loading")

        if model.full:
            raise Overloaded(f"model {model.status.id} is busy", retry_after=1.5)

    async def predict(self, request: PredictRequest) -> PredictResult:
        self.requests.append(request)
        self.admit(request.model)
        model = self._find(request.model)
        chosen = model.signature(request.signature)
        inputs = bind(chosen, request.inputs)
        await model.wait()
        return PredictResult(
            model=model.status.id, signature=chosen, outputs=model.function(inputs)
        )

    def _find(self, spec: ModelSpec) -> FakeModel:
        self.versions(spec.name)
        for model in reversed(self._models):
            if model.name == spec.name and spec.version in (None, model.version):
                return model

        raise VersionNotFound(
            f"Could not find version {spec.version} of model {spec.name}"
        )
