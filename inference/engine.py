"""The engine: the whole interface between the service and the models."""

from __future__ import annotations

import math
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import anyio
import structlog

from inference.artifacts.artifact import signatures_of
from inference.artifacts.builder import builder_for
from inference.background import background
from inference.errors import InvalidRequest, ModelUnloaded, Unavailable
from inference.lifecycle.cache import ModelCache
from inference.lifecycle.catalog import Catalog
from inference.lifecycle.manager import ModelManager
from inference.repository.poller import DaemonCall, RepositoryPoller
from inference.repository.snapshot import RepositoryScanner
from inference.runtime.loader import Loader
from inference.types import EngineStatus, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from inference.config import EngineConfig
    from inference.histogram import CallHistograms
    from inference.lifecycle.instance import Instance
    from inference.lifecycle.model import Model
    from inference.limits import Batching
    from inference.types import (
        CachePolicy,
        InferenceStatistics,
        ModelId,
        ModelReport,
        ModelStatus,
        PredictRequest,
        PredictResult,
        Signature,
    )

SCAN_TIMEOUT_SECONDS = 30.0
MAX_CONCURRENCY = 1024

log = structlog.get_logger("tandem.engine")


class Engine:
    """Server of a repository's models. To be used on one event loop's thread.

    As an async context manager it finds the models at once and loads them in the
    background; one that fails doesn't keep the others from loading. On exit, loads are
    cancelled and loaded models closed.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._catalog = Catalog()
        self._changed = anyio.Event()
        self._settled = False
        self._alive = True
        self._draining = False
        self._last_call = -math.inf
        self._loader = Loader(builder_for(config), config.limits)
        scanner = RepositoryScanner(
            config.repository,
            quiet_seconds=2 * config.scan_seconds,
            follow=config.permissions.follow_links_to,
            name=config.model_name,
        )
        self._poller = RepositoryPoller(
            DaemonCall(scanner.scan, timeout_seconds=SCAN_TIMEOUT_SECONDS),
            seconds=config.scan_seconds,
        )
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        snapshot = await self._poller.first()

        if not snapshot.models:
            log.warning("no model found", repository=str(self._config.repository))

        self._exits.callback(self._close)
        tasks = await self._exits.enter_async_context(anyio.create_task_group())
        self._exits.callback(tasks.cancel_scope.cancel)
        self._cache = ModelCache(self._loader, tasks, budget=self._config.budget)
        self._manager = ModelManager(
            self._catalog, self._cache, self._loader, tasks, changed=self._notify
        )
        self._manager.apply(snapshot)

        if self._config.scan_seconds:
            tasks.start_soon(self._poller.run, self._manager.apply)

        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._alive = False
        await self._exits.__aexit__(kind, error, traceback)

    def alive(self) -> bool:
        """Return false once the engine was closed, or one of its tasks has failed."""
        return self._alive

    def models(self) -> list[ModelStatus]:
        """List every version by name, then number; failed ones too."""
        return [
            status for entry in self._catalog.entries() for status in entry.statuses()
        ]

    def problems(self) -> list[str]:
        """List the repository's entries that aren't served, and why."""
        return list(self._manager.problems)

    def versions(self, name: str) -> list[ModelStatus]:
        """List the versions of one model. Raises `ModelNotFound`."""
        return self._catalog.entry(name).statuses()

    def status(self, spec: ModelSpec) -> ModelStatus:
        """Return the version that answers, or would, whatever its state.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        entry = self._catalog.entry(spec.name)
        return entry.status(entry.pick(spec))

    def statistics(
        self, name: str, version: int | None = None
    ) -> dict[ModelId, InferenceStatistics]:
        """Return the counters of a version, or of all of a model's.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        spec = ModelSpec(name=name, version=version)
        models = self._catalog.select(spec)
        return {model.id: model.statistics.snapshot() for model in models}

    def histograms(self) -> dict[ModelId, CallHistograms]:
        """Return the histograms of all versions' calls."""
        return {
            model.id: model.statistics.histograms() for model in self._catalog.models()
        }

    def identify(self, spec: ModelSpec) -> ModelId:
        """Return the version that answers, or would, whatever its state.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        return self._catalog.find(spec).id

    def batching(
        self, spec: ModelSpec, signature: str | None = None
    ) -> tuple[Signature, Batching] | None:
        """Return a signature, by default the model's own, and how its rows are joined.

        `None` where there is none yet. Raises `ModelNotFound`, `VersionNotFound`.
        """
        prepared = self._catalog.find(spec).prepared

        if prepared is None:
            return None

        signatures = signatures_of(prepared.compiled.manifest)
        name = signature or prepared.compiled.manifest.default_signature
        return (signatures[name], prepared.plans[name]) if name in signatures else None

    def report(self, spec: ModelSpec) -> ModelReport | None:
        """Return how the version that answers was compiled; `None` before it was.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        prepared = self._catalog.find(spec).prepared
        return None if prepared is None else prepared.report()

    def quiet_seconds(self) -> float:
        """Return how long ago the last call came that wasn't in the background."""
        return time.monotonic() - self._last_call

    def settled(self) -> bool:
        """Return whether all versions found at start are available or failed."""
        self._settled = self._settled or all(
            model.settled for model in self._catalog.models()
        )
        return self._settled

    def ready(self) -> bool:
        """Return whether the engine is settled, and not draining."""
        return self.settled() and not self._draining

    def overview(self) -> EngineStatus:
        """Return the state and the counters of the whole engine."""
        cache = self._cache
        return EngineStatus(
            memory_budget=cache.budget,
            memory_bytes=cache.nbytes,
            repository_error=self._poller.error,
            draining=self._draining,
            loads=cache.loads,
            load_failures=cache.load_failures + self._manager.failures,
            evictions=cache.evictions,
            reloads=cache.reloads,
        )

    async def wait_changed(self) -> None:
        """Return when the state of any model changes."""
        await self._changed.wait()

    async def predict(self, request: PredictRequest) -> PredictResult:
        """Run a model; load it first if it was evicted.

        Raises `ModelNotFound`, `VersionNotFound`, `ModelLoading`, `ModelUnloaded`,
        `LoadFailed`, and what `Instance.predict` raises.
        """
        self._note_call()
        arrived = anyio.current_time()
        model = self._catalog.find(request.model)

        try:
            return await self._predict(model, request, arrived)
        except ModelUnloaded:
            # While it waited, another version may have replaced it.
            other = self._catalog.find(request.model)
            if other is model:
                raise

            return await self._predict(other, request, arrived)

    def cache_policy(self, spec: ModelSpec) -> CachePolicy | None:
        """Return how answers of the version that would answer now are cached, if so.

        Raises `ModelNotFound`, `VersionNotFound`, and what `Model.check` raises.
        """
        model = self._catalog.find(spec)
        if model.cache_policy is not None:
            model.check()

        return model.cache_policy

    def is_asynchronous(self, spec: ModelSpec) -> bool:
        """Return whether a prediction is a job unless the client asks otherwise.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        return self._catalog.find(spec).asynchronous

    def admit(self, spec: ModelSpec) -> None:
        """Raise what `predict` would raise now, whatever the inputs.

        That is `ModelNotFound`, `VersionNotFound`, `ModelLoading`, `ModelUnloaded`,
        `LoadFailed` or `Overloaded`.
        """
        self._catalog.find(spec).admit()

    def admit_to_resident(self, spec: ModelSpec) -> Instance | None:
        """Admit a request as `admit` does; return the version that answers at once.

        `None` if it must be loaded first, if its predictions are jobs by default, or
        if its answers are cached. Raises what `admit` raises.
        """
        self._note_call()
        model = self._catalog.find(spec)
        model.admit()
        plain = not model.asynchronous and model.cache_policy is None
        return model.instance if plain else None

    def reserve(self, spec: ModelSpec) -> AbstractContextManager[None]:
        """Reserve a place in the queue while a request's body is decoded.

        What `admit` raises is raised by the call or on entering the block.
        """
        return self._catalog.find(spec).reserve()

    async def load(self, spec: ModelSpec) -> ModelStatus:
        """Load a version that is unloaded, evicted or failed; return once it serves.

        Without a version, the newest. Raises `ModelNotFound`, `VersionNotFound`, and
        `LoadFailed` with the reason; the files' former content keeps serving then.
        """
        model = self._catalog.select(spec)[-1]
        await self._manager.load(model)
        model.check_current()
        return model.status()

    async def unload(self, spec: ModelSpec) -> list[ModelStatus]:
        """Unload a version, or all of a model's; return once their memory is free.

        In-flight requests complete; later ones raise `ModelUnloaded`. Raises
        `ModelNotFound`, `VersionNotFound`.
        """
        models = self._catalog.select(spec)

        for model in models:
            await self._manager.unload(model)

        return [model.status() for model in models]

    async def rescan(self) -> list[str]:
        """Rescan now, including files that have not settled; return the problems.

        Raises `Unavailable` if the repository can't be read.
        """
        await self._poller.poll(self._manager.apply, quiet=True)

        if self._poller.error is not None:
            raise Unavailable(self._poller.error)

        await self._manager.wait_settled()
        return self.problems()

    async def label(self, name: str, labels: Mapping[str, int | None]) -> None:
        """Set labels, or remove them with `None`: all at once or none.

        Loads the versions first where needed. Raises `ModelNotFound`,
        `VersionNotFound`, `LoadFailed`, `ModelUnloaded`; then nothing has changed.
        """
        await self._manager.label(self._catalog.entry(name), labels)

    def pin(self, spec: ModelSpec, pinned: bool) -> None:
        """Pin or unpin a version, or all of a model's: pinned ones aren't evicted.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        self._catalog.pin(spec, pinned)

    def resize(self, spec: ModelSpec, concurrency: int) -> None:
        """Set the calls that a version, or each of a model's, runs at a time.

        Raises `ModelNotFound`, `VersionNotFound`, `InvalidRequest`.
        """
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise InvalidRequest(
                f"concurrency must be within 1 to {MAX_CONCURRENCY}, not {concurrency}."
            )

        for model in self._catalog.select(spec):
            model.resize(concurrency)

    def limit_queues(self, max_queue: int) -> None:
        """Let `max_queue` requests wait for each model without a limit of its own."""
        self._loader.limits = replace(self._loader.limits, max_queue=max_queue)
        for model in self._catalog.models():
            model.limit_queue(max_queue)

    def limit_memory(self, budget: int | None) -> None:
        """Keep loaded models to `budget` bytes: evict those that are beyond, if any.

        `None` is a share of the machine's or container's memory.
        """
        self._cache.resize(replace(self._config, memory_budget=budget).budget)

    def drain(self, draining: bool) -> None:
        """Report not ready while `draining`; requests are still answered."""
        self._draining = draining
        self._notify()

    def _note_call(self) -> None:
        """Let those in the background know of a call."""
        if not background.get():
            self._last_call = time.monotonic()

    async def _predict(
        self, model: Model, request: PredictRequest, arrived: float
    ) -> PredictResult:
        deadline = model.deadline(arrived, request.timeout)
        instance = model.instance or await self._cache.instance(model, deadline)
        return await instance.predict(
            model.id, request, arrived=arrived, deadline=deadline
        )

    def _close(self) -> None:
        for model in self._catalog.models():
            model.finish_unload()

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
