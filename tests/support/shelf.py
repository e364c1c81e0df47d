"""Models without files: a loader whose compiling and opening can be held and failed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import numpy as np

from inference.artifacts.artifact import FORMAT, Artifact, Manifest, signature_entry
from inference.artifacts.builder import Compiled
from inference.lifecycle.cache import ModelCache
from inference.lifecycle.catalog import Catalog
from inference.lifecycle.manager import ModelManager
from inference.limits import Limits
from inference.repository.policy import Declaration
from inference.repository.scan import ModelFiles
from inference.repository.sidecar import VersionsTable
from inference.repository.snapshot import FoundModel, FoundVersion, RepositorySnapshot
from inference.runtime.loader import Loader, Prepared
from inference.runtime.opening import Loaded
from inference.types import ModelId, ModelSpec, PredictRequest
from tests.support.servables import DOUBLE, SIGNATURES, Gated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from inference.lifecycle.instance import Instance
    from inference.lifecycle.model import Model
    from inference.types import PredictResult

MIB = 1024**2
LIMITS = Limits(concurrency=1, intra_op_threads=1)


class Shelved(Gated):
    """A servable that tells whether it was closed."""

    def __init__(self, manifest: Manifest, *, open: bool = True) -> None:
        super().__init__(open=open)
        self.manifest = manifest
        self.signatures = SIGNATURES
        self.closed = False

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeLoader:
    """Versions of one MiB each, or as `sizes` says, and `excess` more than expected.

    `broken` has what is wrong with a version's files, by their fingerprint or id;
    `stuck` what is raised by opening it. While `compiling` or `opening` is an event,
    that waits for it. `opened` has the servables in the order of their opening.
    """

    sizes: dict[ModelId, int] = field(default_factory=dict)
    excess: dict[ModelId, int] = field(default_factory=dict)
    broken: dict[ModelId, Exception] = field(default_factory=dict)
    stuck: dict[ModelId, Exception] = field(default_factory=dict)
    compiling: anyio.Event | None = None
    opening: anyio.Event | None = None
    gated: bool = False
    cache_seconds: float | None = None
    asynchronous: bool = False
    limits: Limits = field(default_factory=Limits)
    prepared: list[ModelId] = field(default_factory=list)
    opened: list[tuple[ModelId, Shelved]] = field(default_factory=list)

    async def prepare(
        self, files: ModelFiles, report: Callable[[str], None], *, retry: bool = False
    ) -> Prepared:
        self.prepared.append(files.id)
        report("reading")

        if self.compiling is not None:
            await self.compiling.wait()

        if files.id in self.broken:
            raise self.broken[files.id]

        return replace(
            prepared(files, self.sizes.get(files.id, MIB)),
            cache_seconds=self.cache_seconds,
            asynchronous=self.asynchronous,
        )

    async def open(self, prepared: Prepared) -> Loaded:
        model_id = prepared.files.id

        if self.opening is not None:
            await self.opening.wait()

        if model_id in self.stuck:
            raise self.stuck[model_id]

        servable = Shelved(prepared.compiled.manifest, open=not self.gated)
        self.opened.append((model_id, servable))
        return Loaded(
            servable=cast("Any", servable),
            limits=prepared.limits,
            plans=prepared.plans,
            concurrency=1,
            seconds=0.0,
            nbytes=prepared.nbytes + self.excess.get(model_id, 0),
            digest=prepared.digest,
        )

    def latest(self, name: str, version: int = 1) -> Shelved:
        """Return the last opened servable of a version."""
        wanted = ModelId(name, version)
        return next(each for of, each in reversed(self.opened) if of == wanted)


def prepared(files: ModelFiles, nbytes: int = MIB) -> Prepared:
    """`files`' path stands for their content."""
    manifest = Manifest(
        format_version=FORMAT,
        source_format="frozen graph",
        source_writer="a test",
        default_signature="double",
        signatures={"double": signature_entry(DOUBLE)},
        optimization="none",
        control_flow=False,
        notes=(),
        weights=(),
        graph_bytes=0,
        graph_sha256="",
        weights_bytes=0,
        memory_bytes=nbytes,
    )
    compiled = Compiled(
        artifact=Artifact(Path("artifacts") / files.path), manifest=manifest, fresh=True
    )
    return Prepared(
        files=files, compiled=compiled, limits=LIMITS, plans=LIMITS.plans(SIGNATURES)
    )


@dataclass
class Shelf:
    """A manager and its parts. `look` is one snapshot: versions by model, and more."""

    catalog: Catalog
    cache: ModelCache
    manager: ModelManager
    loader: FakeLoader

    def look(self, models: Mapping[str, Mapping[int, str]], **choices: Any) -> None:
        """`models` has each version's content; see `found` for the choices."""
        quiet = choices.pop("now", False)
        self.manager.apply(snapshot(models, **choices), quiet=quiet)

    async def load(self, *names: str) -> None:
        """Version 1 of each, taken up and settled."""
        self.look({name: {1: "a"} for name in names})
        await self.manager.wait_settled()

    async def ask(self, name: str, number: float = 1.0, **of: Any) -> PredictResult:
        """Return the response to a request, as an engine does."""
        model = self.catalog.find(ModelSpec(name=name, **of))
        now = anyio.current_time()
        deadline = model.deadline(now, None)
        instance = model.instance or await self.cache.instance(model, deadline)
        request = PredictRequest(
            model=ModelSpec(name=name), inputs={"x": np.array([[number]], "float32")}
        )
        return await instance.predict(model.id, request, arrived=now, deadline=deadline)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once it holds: instances are closed in threads, behind one's back."""
        with anyio.fail_after(60):
            while not condition():
                await anyio.lowlevel.checkpoint()

    async def calm(self) -> None:
        """Return when nothing goes on but what requests hold up."""
        await anyio.wait_all_tasks_blocked()
        await self.until(lambda: not any(map(self._going, self.catalog.models())))
        await self.until(lambda: not self._closing())
        await anyio.wait_all_tasks_blocked()

    def _closing(self) -> list[Instance]:
        """Return the instances that get no new requests and that nothing holds."""
        instances = self.cache._instances.items()
        return [one for one, of in instances if of.instance is not one and one.idle]

    def _going(self, model: Model) -> bool:
        held = [one for one, of in self.cache._instances.items() if of is model]
        return model.retiring and all(one.idle for one in held)

    def in_memory(self) -> list[str]:
        return [str(each.id) for each in self.catalog.models() if each.instance]

    def states(self) -> dict[str, str]:
        return {str(each.id): str(each.state) for each in self.catalog.models()}


@asynccontextmanager
async def shelf(
    loader: FakeLoader | None = None, *, budget: int = 1000 * MIB
) -> AsyncIterator[Shelf]:
    loader = loader or FakeLoader()
    catalog = Catalog()

    async with anyio.create_task_group() as tasks:
        cache = ModelCache(cast("Loader", loader), tasks, budget=budget)
        manager = ModelManager(
            catalog, cache, cast("Loader", loader), tasks, changed=lambda: None
        )
        yield Shelf(catalog, cache, manager, loader)
        tasks.cancel_scope.cancel()

    assert all(servable.closed for _, servable in loader.opened)
    assert cache.nbytes == 0


async def seen(
    it: Shelf, models: Mapping[str, Mapping[int, str]], **choices: Any
) -> None:
    """One snapshot and all that follows from it."""
    it.look(models, **choices)
    await it.manager.wait_settled()
    await it.calm()


def snapshot(
    models: Mapping[str, Mapping[int, str]],
    *,
    quiet: bool = True,
    uncertain: Iterable[str] = (),
    table: VersionsTable | None = None,
    labels: Mapping[str, int] | None = None,
    pinned: Iterable[str] = (),
    source: Path | None = None,
) -> RepositorySnapshot:
    """Return a snapshot: each version's content stands for its files and fingerprint.

    With a `source`, the models' sidecar isn't that of their versions.
    """
    return RepositorySnapshot(
        models={
            name: FoundModel(
                name=name,
                declaration=Declaration(
                    table=table or VersionsTable(latest=1),
                    labels=labels or {},
                    pinned=name in pinned,
                    source=source,
                ),
                versions={
                    number: FoundVersion(
                        files=ModelFiles(id=ModelId(name, number), path=Path(content)),
                        fingerprint=content,
                        quiet=quiet,
                    )
                    for number, content in versions.items()
                },
            )
            for name, versions in models.items()
        },
        problems=[],
        uncertain=frozenset(uncertain),
    )
