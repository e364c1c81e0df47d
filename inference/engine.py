"""All that the service calls: models found, loaded, asked, and closed at the end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import anyio
import structlog

from inference.artifacts.builder import Compilation
from inference.artifacts.cache import ArtifactCache
from inference.errors import InvalidRequest, ModelUnloaded, Unavailable, first_line
from inference.lifecycle.cache import ModelCache
from inference.lifecycle.catalog import Catalog
from inference.lifecycle.manager import ModelManager
from inference.repository.poller import Lookout
from inference.repository.problem_log import ProblemLog
from inference.repository.snapshot import Surveyor
from inference.runtime.loader import Loader
from inference.types import EngineStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from inference.config import EngineConfig
    from inference.lifecycle.model import Model
    from inference.types import ModelSpec, ModelStatus, PredictRequest, PredictResult

SCAN_TIMEOUT_SECONDS = 30.0
REST = 20
"""Times as long as a look at the repository takes, it is left alone: thousands of
models take a while, and the interpreter is shared with the requests."""

MAX_CONCURRENCY = 1024

log = structlog.get_logger("tandem.engine")


class Engine:
    """Serves the models of a repository. To be used on one event loop's thread.

    As an async context manager it finds the models at once and loads them behind the
    caller's back; a model that can't be loaded doesn't keep the others from it. On
    exit loading is called off, and what was loaded is closed.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._catalog = Catalog()
        self._changed = anyio.Event()
        self._settled = False
        self._draining = False
        self._repository_error: str | None = None
        self._loader = Loader(_compilation(config), config.limits)
        surveyor = Surveyor(
            config.repository,
            quiet_seconds=2 * config.scan_seconds,
            follow=config.permissions.follow_links_to,
        )
        self._lookout = Lookout(surveyor.survey, timeout_seconds=SCAN_TIMEOUT_SECONDS)
        self._looking = anyio.Lock()
        self._problem_log = ProblemLog()
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        survey = await self._lookout.look()
        self._problem_log.take(survey.problems, at_once=True)

        if not survey.models:
            log.warning("no model found", repository=str(self._config.repository))

        self._exits.callback(self._close)
        tasks = await self._exits.enter_async_context(anyio.create_task_group())
        self._exits.callback(tasks.cancel_scope.cancel)
        self._cache = ModelCache(self._loader, tasks, budget=self._config.budget)
        self._manager = ModelManager(
            self._catalog, self._cache, self._loader, tasks, changed=self._notify
        )
        self._manager.take(survey)

        if self._config.scan_seconds:
            tasks.start_soon(self._watch)

        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._exits.__aexit__(kind, error, traceback)

    def models(self) -> list[ModelStatus]:
        """Every version known, sorted by name, then version; broken ones included."""
        return [
            status for entry in self._catalog.entries() for status in entry.statuses()
        ]

    def problems(self) -> list[str]:
        """What the repository holds that can't be a model, and why."""
        return list(self._manager.problems)

    def versions(self, name: str) -> list[ModelStatus]:
        """The versions of one model. Raises `ModelNotFound`."""
        return self._catalog.entry(name).statuses()

    def status(self, spec: ModelSpec) -> ModelStatus:
        """The version that answers, or would, whatever its state.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        entry = self._catalog.entry(spec.name)
        return entry.status(entry.pick(spec))

    def ready(self) -> bool:
        """Whether all versions found at first have settled: available, or failed."""
        self._settled = self._settled or all(
            model.settled for model in self._catalog.models()
        )
        return self._settled and not self._draining

    def overview(self) -> EngineStatus:
        """What the engine as a whole is at."""
        cache = self._cache
        return EngineStatus(
            memory_budget=cache.budget,
            memory_bytes=cache.nbytes,
            repository_error=self._repository_error,
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
        """Run a model, loaded again if it had been evicted.

        Raises `ModelNotFound`, `VersionNotFound`, `ModelLoading`, `ModelUnloaded`,
        `LoadFailed`, and what `Instance.predict` raises.
        """
        arrived = anyio.current_time()
        model = self._catalog.find(request.model)

        try:
            return await self._predict(model, request, arrived)
        except ModelUnloaded:
            # While it waited, another version may have taken its place.
            other = self._catalog.find(request.model)
            if other is model:
                raise

            return await self._predict(other, request, arrived)

    def admit(self, spec: ModelSpec) -> None:
        """Raises what `predict` would raise now for any inputs of this model.

        `ModelNotFound`, `VersionNotFound`, `ModelLoading`, `ModelUnloaded`,
        `LoadFailed`, `Overloaded`.
        """
        self._catalog.find(spec).admit()

    def expect(self, spec: ModelSpec) -> AbstractContextManager[None]:
        """A block that keeps a place for a request whose body is decoded meanwhile.

        What `admit` raises is raised by the call or at the block's begin.
        """
        return self._catalog.find(spec).expect()

    async def load(self, spec: ModelSpec) -> ModelStatus:
        """Load a version that is unloaded, evicted or failed; returns once it serves.

        Of a model, its newest. Raises `ModelNotFound`, `VersionNotFound`, and
        `LoadFailed` with the reason; what the files held before serves then.
        """
        model = self._catalog.select(spec)[-1]
        await self._manager.load(model)
        model.check_current()
        return model.status()

    async def unload(self, spec: ModelSpec) -> list[ModelStatus]:
        """Unload a version, or all of a model's; returns once their memory is free.

        Requests that run end well; later ones raise `ModelUnloaded`. Raises
        `ModelNotFound`, `VersionNotFound`.
        """
        models = self._catalog.select(spec)

        for model in models:
            await self._manager.unload(model)

        return [model.status() for model in models]

    async def rescan(self) -> list[str]:
        """Take up what the repository holds now, though it be new; its problems.

        Raises `Unavailable` if it can't be read.
        """
        await self._look(quiet=True)

        if self._repository_error is not None:
            raise Unavailable(self._repository_error)

        await self._manager.settled()
        return self.problems()

    async def label(self, name: str, labels: Mapping[str, int | None]) -> None:
        """Set labels, or take them away with `None`: all of them at once or none.

        Loads the versions first where needed. Raises `ModelNotFound`,
        `VersionNotFound`, `LoadFailed`, `ModelUnloaded`; then nothing has changed.
        """
        await self._manager.label(self._catalog.entry(name), labels)

    def pin(self, spec: ModelSpec, pinned: bool) -> None:
        """Whether versions may be evicted: one, or all of a model's.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        self._catalog.pin(spec, pinned)

    def resize(self, spec: ModelSpec, concurrency: int) -> None:
        """How many calls a version, or each of a model's, runs at a time.

        Raises `ModelNotFound`, `VersionNotFound`, `InvalidRequest`.
        """
        if not 1 <= concurrency <= MAX_CONCURRENCY:
            raise InvalidRequest(
                f"concurrency must be within 1 to {MAX_CONCURRENCY}, not {concurrency}."
            )

        for model in self._catalog.select(spec):
            model.resize(concurrency)

    def drain(self, draining: bool) -> None:
        """Whether to say not ready, so that clients are sent elsewhere."""
        self._draining = draining
        self._notify()

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
            model.end()

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _watch(self) -> None:
        pause = self._config.scan_seconds

        while True:
            await anyio.sleep(pause)
            began = anyio.current_time()
            await self._look()
            took = anyio.current_time() - began
            pause = max(self._config.scan_seconds, REST * took)

    async def _look(self, *, quiet: bool = False) -> None:
        async with self._looking:
            try:
                survey = await self._lookout.look()
            except Exception as exc:
                self._unreadable(exc)
                return

        self._repository_error = None
        self._problem_log.take(survey.problems, at_once=quiet)

        try:
            self._manager.take(survey, quiet=quiet)
        except Exception:
            # A mistake of ours: what is served must not end for it.
            log.exception("taking up what was found failed")

    def _unreadable(self, error: Exception) -> None:
        """What is served stays: the disk may come back."""
        reason = f"The repository can't be read: {first_line(error)}"

        if reason != self._repository_error:
            log.error("repository unreadable", reason=reason)

        self._repository_error = reason


def _compilation(config: EngineConfig) -> Compilation:
    # What could never be loaded isn't worth compiling.
    permissions = config.permissions.model_copy(update={"memory_bytes": config.budget})
    return Compilation(
        ArtifactCache(config.cache),
        timeout_seconds=config.compile_timeout_seconds,
        permissions=permissions,
        memory_limit=config.compile_memory,
    )
