"""Reconciliation of what is served with what the repository holds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import anyio
import structlog

from inference.errors import InferenceError, VersionNotFound, first_line
from inference.lifecycle.catalog import Entry
from inference.lifecycle.model import Model
from inference.lifecycle.retries import LoadHistory
from inference.types import ModelSpec, ModelState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anyio.abc import TaskGroup

    from inference.lifecycle.cache import ModelCache
    from inference.lifecycle.catalog import Catalog
    from inference.repository.policy import Declaration
    from inference.repository.scan import ModelFiles
    from inference.repository.snapshot import (
        FoundModel,
        FoundVersion,
        RepositorySnapshot,
    )
    from inference.runtime.loader import Loader, Prepared

EMPTY = (
    "The repository holds no model now. Loaded models stay, as that may be a mistake; "
    "unload them with the admin calls, or restart."
)

log = structlog.get_logger("tandem.engine")


class ModelManager:
    """Background loads and unloads, as snapshots of the repository ask for.

    A version is loaded once its files have settled. What serves goes on serving until
    its replacement answers; a version that fails leaves everything as it was. To be
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
        self._history = LoadHistory()
        self._updates: dict[Model, anyio.Event] = {}
        self._labelling = anyio.Lock()

    def apply(self, snapshot: RepositorySnapshot, *, quiet: bool = False) -> None:
        """Start to serve what `snapshot` holds.

        `quiet` says that no file is being written.
        """
        self.problems = list(snapshot.problems)
        self._catalog.note(snapshot.passed_over)

        if not snapshot.models and self._catalog.entries():
            self.problems.append(EMPTY)
            return

        for found in snapshot.models.values():
            self._apply_model(found, found.name in snapshot.uncertain, quiet=quiet)

        for entry in self._catalog.entries():
            if entry.name not in snapshot.models:
                uncertain = entry.name in snapshot.uncertain
                entry.update_found({}, keep=uncertain, grace=not quiet)
                self._settle(entry)

        self.problems += self._pending_retries()
        self._changed()

    async def wait_settled(self) -> None:
        """Return when no update is under way."""
        while self._updates:
            await next(iter(self._updates.values())).wait()

    async def load(self, model: Model) -> None:
        """Compile and load a version that isn't in memory, or whose files failed.

        Raises `LoadFailed` with the reason, `ModelUnloaded` if it is being retired, and
        `VersionNotFound` if the files to load are gone.
        """
        if model.retiring:
            model.check()

        model.unloaded = False
        self._cache.reset_backoff(model)
        self._history.reset_backoff(model)

        if model not in self._updates and not model.current:
            self._begin_update(model, self._found(model), retry=True)

        if model in self._updates:
            await self._updates[model].wait()

        await self._cache.instance(model, math.inf)

    async def unload(self, model: Model) -> None:
        """Return when the version is out of memory. It stays so until `load`."""
        model.unloaded = True
        await self._cache.unload(model)
        self._changed()

    async def label(self, entry: Entry, labels: Mapping[str, int | None]) -> None:
        """Move labels once all their versions answer, or leave them as they were.

        Raises `VersionNotFound`, `LoadFailed`, `ModelUnloaded`.
        """
        numbers = {number for number in labels.values() if number is not None}

        async with self._labelling:
            # Only now: the files may have gone while others set labels.
            for number in numbers - entry.found.keys():
                raise VersionNotFound(
                    f"Model '{entry.name}' has no version {number} in the repository; "
                    f"it has: {', '.join(map(str, sorted(entry.found))) or 'none'}."
                )

            entry.held = numbers

            try:
                self._reconcile(entry)
                for number in sorted(numbers):
                    spec = ModelSpec(name=entry.name, version=number)
                    await self.load(entry.versions[entry.pick(spec)])

                entry.label_orders = {**entry.label_orders, **labels}
            finally:
                entry.held = frozenset()
                self._settle(entry)
                self._changed()

    def _apply_model(self, found: FoundModel, uncertain: bool, *, quiet: bool) -> None:
        entry = self._catalog.get(found.name)

        if entry is None:
            entry = Entry(name=found.name, declaration=found.declaration)
            self._catalog.add(entry)

        entry.proposed = found.declaration
        entry.update_found(found.versions, keep=uncertain, grace=not quiet)
        self._reconcile(entry, quiet=quiet)
        self._settle(entry)

    def _reconcile(self, entry: Entry, *, quiet: bool = False) -> None:
        """Start to load what is wanted and isn't served as its files are now."""
        for number in entry.wanted():
            found = entry.found[number]
            model = entry.versions.get(number) or self._add(entry, found.files)

            if model.state is not ModelState.UNLOADING and self._is_due(
                model, found, quiet
            ):
                self._begin_update(model, found)

    def _found(self, model: Model) -> FoundVersion:
        found = self._catalog.entry(model.id.name).found.get(model.id.version)

        # What answers stays until its successor does, though its files are gone.
        if found is None:
            raise VersionNotFound(
                f"The files of {model.id} are no longer in the repository, so they "
                "can't be loaded; put them back, or load another version."
            )

        return found

    def _add(self, entry: Entry, files: ModelFiles) -> Model:
        model = Model(files.id, str(files.path), changed=self._changed)
        entry.versions[files.id.version] = model
        entry.apply_pins()
        return model

    def _is_due(self, model: Model, found: FoundVersion, quiet: bool) -> bool:
        if model in self._updates or model.unloaded or not (quiet or found.quiet):
            return False

        if self._history.tried(model, found.fingerprint):
            return False

        # An operator who asks for a rescan has repaired something.
        return quiet or not self._backoff(model)

    def _pending_retries(self) -> list[str]:
        """Describe the versions that failed and are to be retried."""
        return [
            f"{model.id}: it failed; the next retry is in {math.ceil(pause)} s, or now "
            "with `tandem rescan`."
            for entry in self._catalog.entries()
            for number, found in entry.found.items()
            if (model := entry.versions.get(number))
            and not self._history.tried(model, found.fingerprint)
            and (pause := self._backoff(model))
        ]

    def _backoff(self, model: Model) -> float:
        return self._history.backoff(model, anyio.current_time())

    def _begin_update(
        self, model: Model, found: FoundVersion, *, retry: bool = False
    ) -> None:
        self._history.begin(model, found.fingerprint)
        self._updates[model] = anyio.Event()
        self._tasks.start_soon(self._update, model, found.files, retry)

    async def _update(self, model: Model, files: ModelFiles, retry: bool) -> None:
        try:
            prepared = await self._loader.prepare(files, model.begin, retry=retry)
            model.begin("loading")
            await self._install(model, prepared)
        except InferenceError as exc:
            self._fail(model, exc, str(exc))
        except Exception as exc:
            log.exception("loading failed unexpectedly", model=str(model.id))
            self._fail(model, exc, first_line(exc))
        else:
            self._history.succeed(model)
        finally:
            self._updates.pop(model).set()

        entry = self._catalog.get(model.id.name)

        if entry is not None:
            self._settle(entry)

    async def _install(self, model: Model, prepared: Prepared) -> None:
        before = model.prepared

        if before is not None and before.same_as(prepared):
            model.succeed(prepared)
        else:
            lazy = self._may_load_lazily(model)
            await self._cache.replace(model, prepared, lazy=lazy)

    def _may_load_lazily(self, model: Model) -> bool:
        """Return whether the first request may load it: it replaces nothing."""
        siblings = self._catalog.entry(model.id.name).versions.values()
        return not model.pinned and all(each.prepared is None for each in siblings)

    def _fail(self, model: Model, error: Exception, reason: str) -> None:
        self.failures += 1
        self._history.fail(model, error, reason, anyio.current_time())
        model.fail(reason)

    def _settle(self, entry: Entry) -> None:
        """Move the labels, and retire versions that aren't wanted any more."""
        if self._is_accepted(entry):
            entry.adopt()

        entry.move_labels()

        for number in entry.obsolete():
            model = entry.versions[number]

            if model.state is not ModelState.UNLOADING:
                model.begin_unload()
                self._tasks.start_soon(self._retire, entry, model)

        if not entry.versions and not entry.found:
            self._catalog.remove(entry)

    def _is_accepted(self, entry: Entry) -> bool:
        """Return whether no version was, or may yet be, refused for the new sidecar."""
        proposed = entry.proposed or entry.declaration

        # A mistyped key must not cost the labels and versions that are served.
        return proposed == entry.declaration or not any(
            self._is_undecided(entry, number)
            or self._is_refused(entry, number, proposed)
            for number in entry.wanted()
        )

    def _is_undecided(self, entry: Entry, number: int) -> bool:
        model, found = entry.versions[number], entry.found[number]
        known = self._history.tried(model, found.fingerprint) or self._backoff(model)
        return model in self._updates or not (known or model.withdrawn)

    def _is_refused(self, entry: Entry, number: int, proposed: Declaration) -> bool:
        refused = self._history.refused_sidecar(entry.versions[number])
        return refused and entry.found[number].files.sidecar == proposed.source

    async def _retire(self, entry: Entry, model: Model) -> None:
        if model in self._updates:
            await self._updates[model].wait()

        await self._cache.unload(model)
        self._cache.reset_backoff(model)
        self._history.forget(model)
        del entry.versions[model.id.version]
        model.finish_unload()

        # Its files may have come back meanwhile.
        self._reconcile(entry)
        self._settle(entry)
