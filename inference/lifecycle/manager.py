"""Makes what is served what the repository holds: takes up, replaces, retires."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio
import structlog

from inference.errors import InferenceError, VersionNotFound, first_line
from inference.lifecycle.attempts import Attempts
from inference.lifecycle.catalog import Entry
from inference.lifecycle.model import Model
from inference.types import ModelSpec, ModelState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anyio.abc import TaskGroup

    from inference.lifecycle.cache import ModelCache
    from inference.lifecycle.catalog import Catalog
    from inference.repository.policy import Declaration
    from inference.repository.scan import ModelFiles
    from inference.repository.snapshot import FoundModel, FoundVersion, Survey
    from inference.runtime.loader import Loader, Prepared

EMPTY = (
    "The repository holds no model now. What is served stays, as that may be a "
    "mistake; unload it with the admin calls, or restart."
)

log = structlog.get_logger("tandem.engine")


class ModelManager:
    """Takes surveys of the repository; loads and unloads behind the caller's back.

    A version is taken up once its files are quiet. What serves goes on serving until
    what replaces it answers; a version that fails leaves everything as it was. To be
    used on the event loop's thread, while `tasks` runs.
    """

    def __init__(
        self,
        catalog: Catalog,
        cache: ModelCache,
        loader: Loader,
        tasks: TaskGroup,
        *,
        changed: Callable[[], None],
    ) -> None:
        self.problems: list[str] = []
        self.failures = 0
        self._catalog = catalog
        self._cache = cache
        self._loader = loader
        self._tasks = tasks
        self._changed = changed
        self._attempts = Attempts()
        self._updates: dict[Model, anyio.Event] = {}
        self._labelling = anyio.Lock()

    def take(self, survey: Survey, *, quiet: bool = False) -> None:
        """Begin what `survey` asks for; `quiet` says that no file is being written."""
        self.problems = list(survey.problems)
        self._catalog.note(survey.passed_over)

        if not survey.models and self._catalog.entries():
            self.problems.append(EMPTY)
            return

        for found in survey.models.values():
            self._take_model(found, found.name in survey.doubtful, quiet=quiet)

        for entry in self._catalog.entries():
            if entry.name not in survey.models:
                entry.find({}, keep=entry.name in survey.doubtful, grace=not quiet)
                self._settle(entry)

        self.problems += self._waiting()
        self._changed()

    async def settled(self) -> None:
        """Return when nothing is being taken up."""
        while self._updates:
            await next(iter(self._updates.values())).wait()

    async def load(self, model: Model) -> None:
        """Compile and load what isn't in memory, or whose files failed.

        Raises `LoadFailed` with the reason, `ModelUnloaded` if it is to go for good.
        """
        if model.ending:
            model.check()

        model.unloaded = False
        self._cache.forgive(model)
        self._attempts.forgive(model)

        if model not in self._updates and not model.current:
            self._begin(model, self._found(model), retry=True)

        if model in self._updates:
            await self._updates[model].wait()

        await self._cache.instance(model, math.inf)

    async def unload(self, model: Model) -> None:
        """Return when it is out of memory. It stays so until `load`."""
        model.unloaded = True
        await self._cache.unload(model)
        self._changed()

    async def label(self, entry: Entry, labels: Mapping[str, int | None]) -> None:
        """Move labels once all their versions answer, or leave them as they were.

        Raises `VersionNotFound`, `LoadFailed`, `ModelUnloaded`.
        """
        numbers = {number for number in labels.values() if number is not None}

        for number in numbers - entry.found.keys():
            raise VersionNotFound(
                f"Model '{entry.name}' has no version {number} in the repository; it "
                f"has: {', '.join(map(str, sorted(entry.found)))}."
            )

        async with self._labelling:
            entry.held = numbers

            try:
                self._pursue(entry)
                for number in sorted(numbers):
                    spec = ModelSpec(name=entry.name, version=number)
                    await self.load(entry.versions[entry.pick(spec)])

                entry.ordered = {**entry.ordered, **labels}
            finally:
                entry.held = frozenset()
                self._settle(entry)
                self._changed()

    def _take_model(self, found: FoundModel, doubtful: bool, *, quiet: bool) -> None:
        entry = self._catalog.get(found.name)

        if entry is None:
            entry = Entry(name=found.name, declaration=found.declaration)
            self._catalog.add(entry)

        entry.proposed = found.declaration
        entry.find(found.versions, keep=doubtful, grace=not quiet)
        self._pursue(entry, quiet=quiet)
        self._settle(entry)

    def _pursue(self, entry: Entry, *, quiet: bool = False) -> None:
        """Begin to load what is wanted and isn't served as its files are now."""
        for number in entry.wanted():
            found = entry.found[number]
            model = entry.versions.get(number) or self._add(entry, found.files)

            if model.state is not ModelState.UNLOADING and self._due(
                model, found, quiet
            ):
                self._begin(model, found)

    def _add(self, entry: Entry, files: ModelFiles) -> Model:
        model = Model(files.id, str(files.path), changed=self._changed)
        entry.versions[files.id.version] = model
        entry.apply_pins()
        return model

    def _due(self, model: Model, found: FoundVersion, quiet: bool) -> bool:
        if model in self._updates or model.unloaded or not (quiet or found.quiet):
            return False

        if self._attempts.tried(model, found.fingerprint):
            return False

        # Whoever asks for a look has mended something.
        return quiet or not self._pause(model)

    def _waiting(self) -> list[str]:
        """What is said of versions that failed, and are going to be tried again."""
        return [
            f"{model.id}: it failed, and is tried again in {math.ceil(pause)} s; "
            "`tandem rescan` tries it now."
            for entry in self._catalog.entries()
            for number, found in entry.found.items()
            if (model := entry.versions.get(number))
            and not self._attempts.tried(model, found.fingerprint)
            and (pause := self._pause(model))
        ]

    def _pause(self, model: Model) -> float:
        return self._attempts.pause(model, anyio.current_time())

    def _found(self, model: Model) -> FoundVersion:
        return self._catalog.entry(model.id.name).found[model.id.version]

    def _begin(self, model: Model, found: FoundVersion, *, retry: bool = False) -> None:
        self._attempts.begin(model, found.fingerprint)
        self._updates[model] = anyio.Event()
        self._tasks.start_soon(self._update, model, found.files, retry)

    async def _update(self, model: Model, files: ModelFiles, retry: bool) -> None:
        try:
            prepared = await self._loader.prepare(files, model.begin, retry=retry)
            model.begin("loading")
            await self._bring(model, prepared)
        except InferenceError as exc:
            self._fail(model, exc, str(exc))
        except Exception as exc:
            log.exception("loading failed unexpectedly", model=str(model.id))
            self._fail(model, exc, first_line(exc))
        else:
            self._attempts.succeed(model)
        finally:
            self._updates.pop(model).set()

        entry = self._catalog.get(model.id.name)

        if entry is not None:
            self._settle(entry)

    async def _bring(self, model: Model, prepared: Prepared) -> None:
        before = model.prepared

        if before is not None and before.same_as(prepared):
            model.succeed(prepared)
        else:
            await self._cache.take_up(model, prepared, may_wait=self._may_wait(model))

    def _may_wait(self, model: Model) -> bool:
        """Whether its first request may load it: nothing answers that it replaces."""
        siblings = self._catalog.entry(model.id.name).versions.values()
        return not model.pinned and all(each.prepared is None for each in siblings)

    def _fail(self, model: Model, error: Exception, reason: str) -> None:
        self.failures += 1
        self._attempts.fail(model, error, reason, anyio.current_time())
        model.fail(reason)

    def _settle(self, entry: Entry) -> None:
        """Move the labels, and retire what isn't wanted any more."""
        if self._is_right(entry):
            entry.adopt()

        entry.move_labels()

        for number in entry.obsolete():
            model = entry.versions[number]

            if model.state is not ModelState.UNLOADING:
                model.begin_end()
                self._tasks.start_soon(self._retire, entry, model)

        if not entry.versions and not entry.found:
            self._catalog.remove(entry)

    def _is_right(self, entry: Entry) -> bool:
        """Whether none of its versions was, or may be, refused for what is proposed.

        Who mistypes a key must not lose the labels and versions that are served.
        """
        said = entry.proposed or entry.declaration
        return said == entry.declaration or not any(
            self._undecided(entry, number) or self._refused(entry, number, said)
            for number in entry.wanted()
        )

    def _undecided(self, entry: Entry, number: int) -> bool:
        model, found = entry.versions[number], entry.found[number]
        known = self._attempts.tried(model, found.fingerprint) or self._pause(model)
        return model in self._updates or not (known or model.leaving)

    def _refused(self, entry: Entry, number: int, said: Declaration) -> bool:
        files = entry.found[number].files
        refused = self._attempts.refused_sidecar(entry.versions[number])
        return refused and files.sidecar == said.source

    async def _retire(self, entry: Entry, model: Model) -> None:
        if model in self._updates:
            await self._updates[model].wait()

        await self._cache.unload(model)
        self._cache.forgive(model)
        self._attempts.forget(model)
        del entry.versions[model.id.version]
        model.end()

        # Its files may have come back meanwhile.
        self._pursue(entry)
        self._settle(entry)
