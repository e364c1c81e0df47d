"""An engine without models: arithmetic behind the real binding."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import numpy as np

from inference import (
    Batching,
    CachePolicy,
    CallHistograms,
    Engine,
    EngineStatus,
    InferenceStatistics,
    InvalidRequest,
    LabelNotFound,
    LoadFailed,
    ModelId,
    ModelLoading,
    ModelNotFound,
    ModelReport,
    ModelSpec,
    ModelState,
    ModelStatus,
    ModelUnloaded,
    Overloaded,
    PredictRequest,
    PredictResult,
    QueueStats,
    Shape,
    Signature,
    TensorSpec,
    Unavailable,
    UnknownSignature,
    VersionNotFound,
    bind,
    check_request,
    select_outputs,
)
from inference.inputs.top_k import best_classes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

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
    """One version. `gate`, while it isn't set, holds predictions; `started` tells.

    It holds loads too. `broken` is why a load fails.
    """

    name: str = "half"
    version: int = 1
    state: ModelState = ModelState.AVAILABLE
    stage: str = ""
    error: str | None = None
    update_error: str | None = None
    labels: tuple[str, ...] = ()
    pinned: bool = False
    integrity: str | None = None
    memory_bytes: int = 1 << 20
    last_used: float | None = None
    concurrency: int = 1
    queue: QueueStats = field(default_factory=QueueStats)
    broken: str | None = None
    signatures: tuple[Signature, ...] = (X,)
    function: Function = half_plus_two
    classes: tuple[str, ...] = ()
    full: bool = False
    cache_seconds: float | None = None
    asynchronous: bool = False
    digest: str = "first"
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
            update_error=self.update_error,
            labels=self.labels,
            pinned=self.pinned,
            integrity=self.integrity,
            memory_bytes=self.memory_bytes if loaded else 0,
            last_used=self.last_used,
            concurrency=self.concurrency,
            queue=self.queue,
        )

    @property
    def cache_policy(self) -> CachePolicy | None:
        if self.cache_seconds is None:
            return None

        return CachePolicy(
            model=ModelId(self.name, self.version),
            digest=self.digest,
            seconds=self.cache_seconds,
            limit_seconds=30,
            default_signature=self.signatures[0].name,
            signatures={each.name: each for each in self.signatures},
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


class FakeEngine(Engine):
    """An engine over `FakeModel`s that records the `requests` it gets.

    A rescan adds `found` and returns `scan_problems`, or raises for `unreadable`.
    """

    # The real one's state isn't made: only the methods replaced here may be called.
    def __init__(self, *models: FakeModel) -> None:
        self.all_models = sorted(models, key=lambda model: (model.name, model.version))
        self.requests: list[PredictRequest] = []
        self.reserved = 0
        self.found: list[FakeModel] = []
        self.scan_problems: list[str] = []
        self.unreadable: str | None = None
        self.draining = False
        self.living = True
        self.max_queue: int | None = None
        self.budget: int | None = None
        self.loads = 0
        self.load_failures = 0

    def models(self) -> list[ModelStatus]:
        return [model.status for model in self.all_models]

    def alive(self) -> bool:
        return self.living

    def problems(self) -> list[str]:
        return list(self.scan_problems)

    def versions(self, name: str) -> list[ModelStatus]:
        found = [model.status for model in self.all_models if model.name == name]
        if not found:
            raise ModelNotFound(f"there is no model {name}")

        return found

    def status(self, spec: ModelSpec) -> ModelStatus:
        return self._find(spec).status

    def statistics(
        self, name: str, version: int | None = None
    ) -> dict[ModelId, InferenceStatistics]:
        found = self._chosen(ModelSpec(name=name, version=version))
        return {model.status.id: InferenceStatistics() for model in found}

    def histograms(self) -> dict[ModelId, CallHistograms]:
        return {}

    def identify(self, spec: ModelSpec) -> ModelId:
        return self._find(spec).status.id

    def batching(
        self, spec: ModelSpec, signature: str | None = None
    ) -> tuple[Signature, Batching] | None:
        status = self.status(spec)
        name = signature or status.default_signature or ""
        found = status.signatures.get(name)
        return None if found is None else (found, Batching())

    def report(self, spec: ModelSpec) -> ModelReport | None:
        model = self._find(spec)
        if model.state is not ModelState.AVAILABLE:
            return None

        return ModelReport(
            source_bytes=1000,
            source_sha256="0" * 64,
            compiled_with={"tensorflow": "2.21.0"},
            compile_seconds=1.5,
            optimization="full",
            largest_difference=1e-7,
            notes=(),
            layers={},
            classes=model.classes,
            preprocessing={},
            max_rows={each.name: 32 for each in model.signatures},
            max_queue=64,
            timeout_seconds=30.0,
            asynchronous=model.asynchronous,
            cache_seconds=model.cache_seconds,
        )

    def quiet_seconds(self) -> float:
        return math.inf

    def settled(self) -> bool:
        settled = (ModelState.AVAILABLE, ModelState.END)
        return all(model.state in settled for model in self.all_models)

    def admit(self, spec: ModelSpec) -> None:
        model = self._find(spec)
        _check(model)

        if model.full:
            raise Overloaded(f"model {model.status.id} is busy", retry_after=1.5)

    def cache_policy(self, spec: ModelSpec) -> CachePolicy | None:
        model = self._find(spec)
        if model.cache_policy is not None:
            _check(model)

        return model.cache_policy

    def is_asynchronous(self, spec: ModelSpec) -> bool:
        return self._find(spec).asynchronous

    @contextmanager
    def reserve(self, spec: ModelSpec) -> Iterator[None]:
        self.admit(spec)
        self.reserved += 1
        try:
            yield
        finally:
            self.reserved -= 1

    async def predict(self, request: PredictRequest) -> PredictResult:
        self.requests.append(request)
        self.admit(request.model)
        model = self._find(request.model)
        chosen = model.signature(request.signature)
        inputs = bind(chosen, request.inputs)
        names = select_outputs(chosen, request.outputs)
        k = request.top_k
        check_request(chosen, names, request)
        await model.wait()
        outputs = model.function(inputs)
        if request.outputs is not None:
            outputs = {name: outputs[name] for name in names}

        if k is not None:
            scores = chosen.outputs[names[0]]
            outputs = best_classes(scores, outputs[names[0]], k, model.classes)

        return PredictResult(
            model=model.status.id,
            signature=chosen,
            outputs=outputs,
            digest=model.digest,
            classes=model.classes,
        )

    def overview(self) -> EngineStatus:
        return EngineStatus(
            memory_budget=1 << 30,
            memory_bytes=sum(status.memory_bytes or 0 for status in self.models()),
            repository_error=self.unreadable,
            draining=self.draining,
            loads=self.loads,
            load_failures=self.load_failures,
            evictions=3,
            reloads=2,
        )

    async def load(self, spec: ModelSpec) -> ModelStatus:
        model = self._find(spec)
        await model.wait()
        if model.broken is not None:
            model.state, model.error = ModelState.END, model.broken
            self.load_failures += 1
            raise LoadFailed(f"model {model.status.id} failed: {model.broken}")

        model.state, model.error = ModelState.AVAILABLE, None
        self.loads += 1
        return model.status

    async def unload(self, spec: ModelSpec) -> list[ModelStatus]:
        for model in self._chosen(spec):
            model.state = ModelState.END

        return [model.status for model in self._chosen(spec)]

    async def rescan(self) -> list[str]:
        if self.unreadable is not None:
            raise Unavailable(f"the repository can't be read: {self.unreadable}")

        self.all_models = sorted(
            [*self.all_models, *self.found],
            key=lambda model: (model.name, model.version),
        )
        self.found = []
        return self.problems()

    async def label(self, name: str, labels: Mapping[str, int | None]) -> None:
        self.versions(name)
        for version in labels.values():
            if version is not None:
                self._find(ModelSpec(name=name, version=version))

        for model in self._chosen(ModelSpec(name=name)):
            kept = {label for label in model.labels if label not in labels}
            new = {label for label, v in labels.items() if v == model.version}
            model.labels = tuple(sorted(kept | new))

    def pin(self, spec: ModelSpec, pinned: bool) -> None:
        for model in self._chosen(spec):
            model.pinned = pinned

    def resize(self, spec: ModelSpec, concurrency: int) -> None:
        if concurrency > 64:
            raise InvalidRequest("at most 64 calls at a time")

        for model in self._chosen(spec):
            model.concurrency = concurrency

    def limit_queues(self, max_queue: int) -> None:
        self.max_queue = max_queue

    def limit_memory(self, budget: int | None) -> None:
        self.budget = budget

    def drain(self, draining: bool) -> None:
        self.draining = draining

    def _chosen(self, spec: ModelSpec) -> list[FakeModel]:
        """The version asked for, or all of the model's."""
        self._find(spec)
        return [
            model
            for model in self.all_models
            if model.name == spec.name and spec.version in (None, model.version)
        ]

    def _find(self, spec: ModelSpec) -> FakeModel:
        self.versions(spec.name)
        for model in reversed(self.all_models):
            if model.name == spec.name and _fits(model, spec):
                return model

        if spec.label is not None:
            raise LabelNotFound(f"model {spec.name} has no label {spec.label}")

        raise VersionNotFound(f"model {spec.name} has no version {spec.version}")


def _check(model: FakeModel) -> None:
    if model.error is not None:
        raise LoadFailed(f"model {model.status.id} failed: {model.error}")

    if model.state is ModelState.END:
        raise ModelUnloaded(f"model {model.status.id} was unloaded")

    if model.state is not ModelState.AVAILABLE:
        raise ModelLoading(f"model {model.status.id} is loading")


def _fits(model: FakeModel, spec: ModelSpec) -> bool:
    if spec.label is not None:
        return spec.label in model.labels

    return spec.version in (None, model.version)
