"""The loaded versions within a memory budget: loads, replacements, evictions."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import structlog

from inference.errors import (
    DeadlineExceeded,
    InferenceError,
    LoadFailed,
    Unavailable,
    first_line,
)
from inference.lifecycle.eviction import check_possible, choose_victim
from inference.lifecycle.instance import Instance
from inference.lifecycle.retries import Retries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from anyio.abc import TaskGroup, TaskStatus

    from inference.lifecycle.model import Model
    from inference.runtime.loader import Loader, Prepared

PATIENCE_SECONDS = 1.0
"""The wait for a version to become idle, before a load evicts a busy one."""

log = structlog.get_logger("tandem.models")


class ModelCache:
    """Versions in memory, loaded one at a time; requests for one share its load.

    `budget` is in bytes. An eviction stops new requests and waits for those in flight.
    To be used on the event loop's thread, while `tasks` runs.
    """

    def __init__(self, loader: Loader, tasks: TaskGroup, *, budget: int) -> None:
        self.budget = budget
        self.loads = self.load_failures = self.evictions = self.reloads = 0
        self._loader = loader
        self._tasks = tasks
        self._lock = anyio.Lock()
        self._instances: dict[Instance, Model] = {}
        self._leaving: set[Instance] = set()
        self._loading: dict[Model, anyio.Event] = {}
        self._evicted: set[Model] = set()
        self._retries: Retries[Model] = Retries()
        self._changed: anyio.Event | None = None
        self._context = copy_context()

    @property
    def nbytes(self) -> int:
        """The memory of all instances, those being closed included."""
        return sum(instance.nbytes for instance in self._instances)

    async def instance(self, model: Model, deadline: float) -> Instance:
        """Return the version in memory, after a load if it isn't there.

        `deadline` is on anyio's clock. Raises `DeadlineExceeded`, `LoadFailed`, and
        what `Model.check` raises.
        """
        while model.instance is None:
            model.check()
            self._check_failure(model)
            await self._wait(self._shared_load(model), deadline)

        return model.instance

    async def replace(self, model: Model, prepared: Prepared, *, lazy: bool) -> None:
        """Load `prepared`, then let it answer in place of the instance before it.

        With `lazy`, where there is no room, its first request loads it. Raises
        `InferenceError`; then everything is as it was.
        """
        self._check_possible(model, prepared)

        async with self._turn(
            model, prepared, needed=lambda: not (lazy or model.withdrawn)
        ) as room:
            # An operator may have unloaded it while it was compiled.
            if not room or model.withdrawn:
                model.succeed(prepared)
                return

            instance = await self._open(model, prepared)
            model.succeed(prepared)
            before = model.install(instance)

        self._retries.forget(model)

        if before is not None:
            self._tasks.start_soon(before.end)

    async def unload(self, model: Model) -> None:
        """Unload a version; return once its memory is free.

        The unload goes on if the caller is cancelled. No request may ask for the
        version meanwhile.
        """
        unloaded = anyio.Event()
        self._tasks.start_soon(self._unload, model, unloaded)
        await unloaded.wait()

    async def _unload(self, model: Model, unloaded: anyio.Event) -> None:
        try:
            async with self._lock:
                instance = model.uninstall()
                self._retries.forget(model)
                self._evicted.discard(model)

            if instance is not None:
                await instance.end()
        finally:
            unloaded.set()

    def _fits(self, prepared: Prepared) -> bool:
        return self.nbytes + prepared.nbytes <= self.budget

    def _check_possible(self, model: Model, prepared: Prepared) -> None:
        # One that is being replaced or closed makes room by itself.
        pinned = [
            other.instance.nbytes
            for other in self._residents()
            if other.instance and other.pinned and other is not model
        ]
        check_possible(prepared.nbytes, sum(pinned), self.budget)

    def resize(self, budget: int) -> None:
        """Keep to another budget from now on: busy versions go after idle ones."""
        self.budget = budget
        self._keep_to_budget()
        self._keep_to_budget(busy=True)
        # There may be room for a load that waits.
        self._notify()

    def reset_backoff(self, model: Model) -> None:
        self._retries.forget(model)

    def _check_failure(self, model: Model) -> None:
        failure = self._retries.failure(model, anyio.current_time())

        if failure is not None:
            raise LoadFailed(
                f"{model.id.title} could not be loaded: {failure.reason} The next "
                f"retry is in {math.ceil(failure.seconds)} s.",
                retry_after=failure.seconds,
            )

    async def _wait(self, loaded: anyio.Event, deadline: float) -> None:
        with anyio.CancelScope(deadline=deadline):
            await loaded.wait()
            return

        raise DeadlineExceeded("The request's time is over: its model was loading.")

    def _shared_load(self, model: Model) -> anyio.Event:
        if self._tasks.cancel_scope.cancel_called:
            raise Unavailable("The server is stopping.")

        if model not in self._loading:
            self._loading[model] = anyio.Event()
            # Not in the context of the request that came first: the version's threads
            # outlive it, and their lines in the log would have its id.
            self._context.run(self._tasks.start_soon, self._run_load, model)

        return self._loading[model]

    async def _run_load(self, model: Model) -> None:
        loaded = self._loading[model]

        try:
            await self._try_load(model, loaded)
        finally:
            # Requests that wait must wake after a failed or cancelled load too.
            self._end_load(model, loaded)

    async def _try_load(self, model: Model, loaded: anyio.Event) -> None:
        try:
            await self._load(model, loaded)
        except InferenceError as exc:
            self._failed(model, str(exc))
        except Exception as exc:
            log.exception("loading failed unexpectedly", model=str(model.id))
            self._failed(model, first_line(exc))

    async def _load(self, model: Model, loaded: anyio.Event) -> None:
        prepared = model.prepared

        if prepared is None:
            return

        async with self._turn(
            model, prepared, needed=lambda: self._is_missing(model)
        ) as room:
            # Meanwhile it may have been loaded, or unloaded.
            if not room or not self._is_missing(model) or model.prepared is None:
                return

            model.install(await self._open(model, model.prepared))
            self.reloads += model in self._evicted
            self._evicted.discard(model)
            self._retries.forget(model)
            self._end_load(model, loaded)
            # Its requests get it first: idle, the next load would evict it.
            await anyio.lowlevel.checkpoint()

    def _is_missing(self, model: Model) -> bool:
        return not model.withdrawn and model.instance is None

    def _end_load(self, model: Model, loaded: anyio.Event) -> None:
        if self._loading.get(model) is loaded:
            del self._loading[model]

        loaded.set()

    def _failed(self, model: Model, reason: str) -> None:
        self.load_failures += 1
        self._retries.record_failure(model, reason, anyio.current_time())
        log.error("model failed to load", model=str(model.id), reason=reason)

    async def _open(self, model: Model, prepared: Prepared) -> Instance:
        # A cancelled load must still hand its instance to the task that closes it.
        with anyio.CancelScope(shield=True):
            loaded = await self._loader.open(prepared)
            instance = Instance(loaded, version=model.id.version, released=self._notify)
            self._instances[instance] = model
            await self._tasks.start(self._serve, instance)

        self.loads += 1
        self._keep_to_budget()
        return instance

    async def _serve(
        self, instance: Instance, *, task_status: TaskStatus[None]
    ) -> None:
        try:
            await instance.serve(task_status=task_status)
        except Exception:
            # A mistake of ours: it must not stop the others.
            log.exception("a model's batcher failed")
        finally:
            model = self._instances.pop(instance)
            self._leaving.discard(instance)

            if model.instance is instance:
                model.uninstall()

            self._notify()

    @asynccontextmanager
    async def _turn(
        self, model: Model, prepared: Prepared, *, needed: Callable[[], bool]
    ) -> AsyncIterator[bool]:
        """Take the turn to load once there is room, which evictions make if `needed`.

        Yield whether there is room. Others have their turns while an evicted version's
        last calls run. Raises `LoadFailed` if there can't be room.
        """
        patience = anyio.current_time() + PATIENCE_SECONDS

        while True:
            async with self._lock:
                room = self._fits(prepared)

                if room or not needed():
                    yield room
                    return

                late = anyio.current_time() >= patience
                self._make_room(model, prepared, busy=late)

            await self._wait_for_change(math.inf if late else patience)

    def _make_room(self, model: Model, prepared: Prepared, *, busy: bool) -> None:
        """Evict versions until there will be room, or none may go now."""
        # Others may have been pinned since.
        self._check_possible(model, prepared)

        while self._staying + prepared.nbytes > self.budget:
            # Busy versions go one at a time: until the first is gone, others may
            # become idle or be pinned.
            victim = choose_victim(self._residents(), busy=busy and not self._leaving)

            if victim is None and busy and model.instance is not None:
                # A pinned version gives way to its own replacement.
                victim = model

            if victim is None:
                return

            self._evict(victim)

    def _keep_to_budget(self, *, busy: bool = False) -> None:
        """Evict idle versions, or also `busy` ones, while they take more than they may.

        A load may take more than expected.
        """
        while self._staying > self.budget:
            victim = choose_victim(self._residents(), busy=busy)

            if victim is None:
                return

            self._evict(victim)

    @property
    def _staying(self) -> int:
        """The memory of all instances but those being evicted."""
        return self.nbytes - sum(instance.nbytes for instance in self._leaving)

    def _evict(self, model: Model) -> None:
        instance = model.uninstall()
        assert instance is not None
        self.evictions += 1
        self._evicted.add(model)
        self._leaving.add(instance)
        log.info("model evicted", model=str(model.id), memory_bytes=instance.nbytes)
        # Its last call may run for long.
        self._tasks.start_soon(instance.end)

    def _residents(self) -> list[Model]:
        return [
            model
            for instance, model in self._instances.items()
            if model.instance is instance
        ]

    async def _wait_for_change(self, until: float) -> None:
        self._changed = self._changed or anyio.Event()

        with anyio.CancelScope(deadline=until):
            await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
