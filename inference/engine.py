"""All that the service calls: models found, loaded, asked, and closed at the end."""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread
import structlog

from inference.artifact_cache import ArtifactCache
from inference.batcher import Batcher
from inference.compilation import Compilation
from inference.errors import InferenceError, ModelNotFound, VersionNotFound
from inference.limits import Limits
from inference.loading import Loader
from inference.model import Model
from inference.permissions import Permissions
from inference.reasons import first_line
from inference.repository import scan_repository

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from inference.loading import Loaded
    from inference.repository import ModelFiles
    from inference.types import ModelSpec, ModelStatus, PredictRequest, PredictResult

log = structlog.get_logger("tandem.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """`repository` is a folder of models or one model; `cache` holds artifacts.

    `limits` are those of a model whose sidecar doesn't say otherwise. `memory_budget`
    is in bytes; `None` for a share of what the machine or container has. The
    repository is looked at every `scan_seconds`; 0 for once.
    """

    repository: Path
    cache: Path
    limits: Limits = field(default_factory=Limits)
    compile_timeout_seconds: float = 900.0
    permissions: Permissions = field(default_factory=Permissions)
    memory_budget: int | None = None
    scan_seconds: float = 0.0


class Engine:
    """Serves the models of a repository. To be used on one event loop's thread.

    As an async context manager it finds the models at once and loads them behind the
    caller's back; a model that can't be loaded doesn't keep the others from it. On
    exit loading is called off, and what was loaded is closed.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._models: dict[str, dict[int, Model]] = {}
        self._problems: list[str] = []
        self._changed = anyio.Event()
        compilation = Compilation(
            ArtifactCache(config.cache), timeout_seconds=config.compile_timeout_seconds
        )
        self._loader = Loader(compilation, config.limits)
        self._exits = AsyncExitStack()

    async def __aenter__(self) -> Self:
        scan = await anyio.to_thread.run_sync(
            scan_repository, self._config.repository, limiter=anyio.CapacityLimiter(1)
        )
        self._problems = scan.problems

        for problem in scan.problems:
            log.warning("entry passed over", problem=problem)

        for files in scan.models:
            self._models.setdefault(files.id.name, {})[files.id.version] = self._new(
                files
            )

        self._exits.callback(self._close)
        self._tasks = anyio.create_task_group()
        await self._exits.enter_async_context(self._tasks)
        self._exits.callback(self._tasks.cancel_scope.cancel)
        self._tasks.start_soon(self._load_all)
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
        return [model.status() for model in self._all()]

    def problems(self) -> list[str]:
        """What the repository holds that can't be a model, and why."""
        return list(self._problems)

    def versions(self, name: str) -> list[ModelStatus]:
        """The versions of one model. Raises `ModelNotFound`."""
        return [model.status() for _, model in sorted(self._named(name).items())]

    def status(self, spec: ModelSpec) -> ModelStatus:
        """The newest version or the one asked for, whatever its state.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        return self._find(spec).status()

    def ready(self) -> bool:
        """Whether every version has settled: it is available, or has failed."""
        return all(model.settled for model in self._all())

    async def wait_changed(self) -> None:
        """Return when the state of any model changes."""
        await self._changed.wait()

    async def predict(self, request: PredictRequest) -> PredictResult:
        """Run a model. Raises `ModelNotFound`, and what `Model.predict` raises."""
        return await self._find(request.model).predict(request)

    def admit(self, spec: ModelSpec) -> None:
        """Raises what `predict` would raise now for any inputs of this model.

        `ModelNotFound`, `ModelLoading`, `LoadFailed`, `Overloaded`.
        """
        self._find(spec).admit()

    def _new(self, files: ModelFiles) -> Model:
        return Model(files, changed=self._notify)

    def _all(self) -> list[Model]:
        return [
            model
            for _, versions in sorted(self._models.items())
            for _, model in sorted(versions.items())
        ]

    def _named(self, name: str) -> dict[int, Model]:
        if name not in self._models:
            served = ", ".join(sorted(self._models)) or "none"
            raise ModelNotFound(
                f"There is no model '{name}'; the models are: {served}."
            )

        return self._models[name]

    def _find(self, spec: ModelSpec) -> Model:
        versions = self._named(spec.name)
        version = max(versions) if spec.version is None else spec.version

        if version not in versions:
            served = ", ".join(map(str, sorted(versions)))
            raise VersionNotFound(
                f"Model '{spec.name}' has no version {version}; served: {served}."
            )

        return versions[version]

    def _notify(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _load_all(self) -> None:
        async with anyio.create_task_group() as tasks:
            for model in self._all():
                tasks.start_soon(self._load, model)

        # A full collection walks TensorFlow's objects and stops the server meanwhile.
        gc.collect()
        gc.freeze()

    async def _load(self, model: Model) -> None:
        try:
            loaded = await self._loader.load(model.files, model.begin)
        except InferenceError as exc:
            model.fail(str(exc))
        except Exception as exc:
            log.exception("loading failed unexpectedly", model=model.files.id.name)
            model.fail(first_line(exc))
        else:
            await self._serve(model, loaded)

    async def _serve(self, model: Model, loaded: Loaded) -> None:
        batcher = Batcher(loaded)

        try:
            await self._tasks.start(batcher.serve)
        except BaseException:
            # Leaving calls it off before the model knows what it would have to close.
            loaded.servable.close()
            raise

        model.succeed(loaded, batcher)

    def _close(self) -> None:
        for model in self._all():
            model.close()
