"""One version of one model: its state and its loaded instance."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import structlog

from inference.artifacts.artifact import signatures_of
from inference.batching.statistics import CallStatistics
from inference.errors import LoadFailed, ModelLoading, ModelUnloaded
from inference.types import CachePolicy, ModelState, ModelStatus, QueueStats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from inference.lifecycle.instance import Instance
    from inference.runtime.loader import Prepared
    from inference.types import ModelId, Signature

NEVER = -math.inf

log = structlog.get_logger("tandem.models")


class Model:
    """A version as the engine knows it, from its discovery to its end.

    `prepared` is what can be loaded, `instance` what is in memory: without one, the
    next request loads it. `unloaded` is an operator's unload, and `retiring` says that
    the version is being removed. `cache_policy` is `None` if its answers aren't given
    again. To be used on the event loop's thread.
    """

    def __init__(
        self, model_id: ModelId, path: str, *, changed: Callable[[], None]
    ) -> None:
        self.id = model_id
        self.path = path
        self.prepared: Prepared | None = None
        self.instance: Instance | None = None
        self.cache_policy: CachePolicy | None = None
        self.asynchronous = False
        self.pinned = False
        self.pin_order: bool | None = None
        self.tokens: int | None = None
        self.statistics = CallStatistics()
        self._max_queue: int | None = None
        self.unloaded = False
        self._changed = changed
        self._signatures: Mapping[str, Signature] = {}
        self._stage = ""
        self._begun = False
        self.retiring = False
        self._ended = False
        self._error: str | None = None
        self._update_error: str | None = None
        self._last_request = NEVER

    @property
    def state(self) -> ModelState:
        if self._ended:
            return ModelState.END

        if self.retiring:
            return ModelState.UNLOADING

        if self.unloaded or self._error is not None:
            return ModelState.END

        if self.prepared is not None:
            return ModelState.AVAILABLE

        return ModelState.LOADING if self._begun else ModelState.START

    @property
    def settled(self) -> bool:
        """Return whether loading has ended, in success or failure."""
        return self.state in (ModelState.AVAILABLE, ModelState.END)

    @property
    def withdrawn(self) -> bool:
        """Return whether requests must not load it."""
        return self.unloaded or self.retiring

    @property
    def current(self) -> bool:
        """Return whether its present files are what is served, or can be loaded."""
        return self.prepared is not None and self._update_error is None

    def status(self, labels: tuple[str, ...] = ()) -> ModelStatus:
        instance = self.instance
        manifest = self.prepared.compiled.manifest if self.prepared else None
        return ModelStatus(
            id=self.id,
            path=self.path,
            state=self.state,
            stage=self._stage,
            error=self._error,
            update_error=self._update_error,
            format=manifest.source_format if manifest else None,
            writer=manifest.source_writer if manifest else None,
            default_signature=manifest.default_signature if manifest else None,
            signatures=self._signatures,
            left_out=manifest.left_out if manifest else {},
            concurrency=instance.batcher.tokens if instance else None,
            load_seconds=instance.loaded.seconds if instance else None,
            queue=instance.batcher.stats() if instance else QueueStats(),
            labels=labels,
            pinned=self.pinned,
            integrity=self.prepared.compiled.integrity if self.prepared else None,
            memory_bytes=instance.nbytes if instance else 0,
            last_used=self._last_used_epoch(),
        )

    def begin(self, stage: str) -> None:
        """Enter a stage of loading; a version that serves goes on serving."""
        if not self._begun:
            log.info("model loading", **self._log_fields(), path=self.path)

        self._begun = True
        self._stage = stage
        self._changed()

    def succeed(self, prepared: Prepared) -> None:
        """Make the version available as `prepared`."""
        manifest = prepared.compiled.manifest
        self.prepared = prepared
        self._signatures = signatures_of(manifest)
        self.cache_policy = _cache_policy(self.id, prepared, self._signatures)
        self.asynchronous = prepared.asynchronous
        self._stage = ""
        self._error = self._update_error = None
        log.info(
            "model available",
            **self._log_fields(),
            format=manifest.source_format,
            optimization=manifest.optimization,
            compile_seconds=manifest.compile_seconds
            if prepared.compiled.fresh
            else None,
        )

        for note in manifest.notes:
            log.info("model note", **self._log_fields(), note=note)

        self._warn_of_uncached()
        self._changed()

    def fail(self, reason: str) -> None:
        """Record that its files can't be loaded; clients and operators get `reason`.

        A version that serves goes on with its former files.
        """
        self._stage = ""

        if self.prepared is not None:
            self._update_error = reason
        else:
            self._error = reason

        # What an operator must know first: whether clients are affected.
        serving = "its former files serve" if self.prepared else "it is not served"
        log.error(
            "model failed to load", **self._log_fields(), reason=reason, now=serving
        )
        self._changed()

    @property
    def idle(self) -> bool:
        """Return whether no request holds it."""
        return self.instance is None or self.instance.idle

    @property
    def last_used(self) -> float:
        """The time of its last request, or of its load, by `time.monotonic`."""
        return self.instance.last_used if self.instance else NEVER

    def resize(self, tokens: int) -> None:
        """Run `tokens` calls at a time, now and after each later load."""
        self.tokens = tokens
        if self.instance is not None:
            self.instance.batcher.resize(tokens)

    def limit_queue(self, max_queue: int) -> None:
        """Let `max_queue` requests wait, now and after each later load.

        Not if the model's sidecar has a limit of its own.
        """
        self._max_queue = max_queue
        if self.instance is not None:
            self.instance.batcher.limit_queue(max_queue)

    def install(self, instance: Instance) -> Instance | None:
        """Let `instance` answer from now on; return its predecessor."""
        if self.tokens is not None:
            instance.batcher.resize(self.tokens)

        if self._max_queue is not None:
            instance.batcher.limit_queue(self._max_queue)

        # Counters go on through evictions and reloads.
        instance.batcher.statistics = self.statistics
        before, self.instance = self.instance, instance
        log.info(
            "model loaded",
            **self._log_fields(),
            load_seconds=round(instance.loaded.seconds, 3),
            memory_bytes=instance.nbytes,
            concurrency=instance.batcher.tokens,
        )
        self._changed()
        return before

    def uninstall(self) -> Instance | None:
        """Detach the instance from new requests; return it, to be closed."""
        self._last_request = self._last_request_time()
        instance, self.instance = self.instance, None
        return instance

    def begin_unload(self) -> None:
        """Retire the version: it takes no request from now on."""
        self.retiring = True
        self._changed()

    def finish_unload(self) -> None:
        """Mark the version as gone; its instance is closed."""
        self.retiring = self._ended = True
        self.uninstall()
        self.prepared = self.cache_policy = None
        self._signatures = {}
        log.info("model unloaded", **self._log_fields())
        self._changed()

    def check(self) -> None:
        """Raise `ModelUnloaded`, `LoadFailed` or `ModelLoading` unless it answers."""
        if self.prepared is not None and not self.unloaded and not self.retiring:
            return

        version = f"Version {self.id.version} of model '{self.id.name}'"

        if self.retiring:
            raise ModelUnloaded(
                f"{version} is being unloaded: its files are gone, or another version "
                "serves in its place."
            )

        if self.unloaded:
            raise ModelUnloaded(
                f"{version} has been unloaded; an operator can load it again."
            )

        if self._error is not None:
            raise LoadFailed(f"{self.id.title} could not be loaded: {self._error}")

        doing = f" ({self._stage})" if self._stage else ""
        raise ModelLoading(f"{self.id.title} is still loading{doing}; retry soon.")

    def check_current(self) -> None:
        """Raise `LoadFailed` if its present files aren't what is served."""
        if self._update_error is not None:
            raise LoadFailed(
                f"The new files of model '{self.id.name}' can't be loaded: "
                f"{self._update_error} Its former files are served."
            )

    def deadline(self, now: float, timeout: float | None) -> float:
        """Return when a request that came `now` expires. Raises what `check` raises."""
        self.check()
        assert self.prepared is not None
        return self.prepared.limits.deadline(now, timeout)

    def admit(self) -> None:
        """Raise what `predict` would raise now, whatever the inputs.

        That is what `check` raises, or `Overloaded`.
        """
        self.check()
        instance = self.instance

        if instance is not None:
            instance.batcher.check(instance.loaded.limits.timeout_seconds)

    def reserve(self) -> AbstractContextManager[None]:
        """Reserve a place in the queue while a request's body is read.

        Raises what `admit` raises.
        """
        self.check()
        instance = self.instance

        if instance is None:
            return nullcontext()

        return instance.batcher.reserve(instance.loaded.limits.timeout_seconds)

    def _warn_of_uncached(self) -> None:
        """Log the signatures that cache_seconds does nothing for."""
        policy = self.cache_policy
        for name, signature in policy.signatures.items() if policy else ():
            if not signature.repeatable:
                log.warning(
                    "answers are not cached",
                    **self._log_fields(),
                    signature=name,
                    reason="it draws random numbers, reads what may change or keeps "
                    "state: cache_seconds in the sidecar doesn't apply",
                )

    def _last_request_time(self) -> float:
        used = self.instance is not None and self.instance.used
        return self.last_used if used else self._last_request

    def _last_used_epoch(self) -> float | None:
        latest = self._last_request_time()
        if latest == NEVER:
            return None

        # Both clocks are read: finer digits would differ from status to status.
        return round(time.time() - (time.monotonic() - latest), 3)

    def _log_fields(self) -> dict[str, str | int]:
        return {"model": self.id.name, "version": self.id.version}


def _cache_policy(
    model: ModelId, prepared: Prepared, signatures: Mapping[str, Signature]
) -> CachePolicy | None:
    if prepared.cache_seconds is None:
        return None

    return CachePolicy(
        model=model,
        digest=prepared.digest,
        seconds=prepared.cache_seconds,
        limit_seconds=prepared.limits.timeout_seconds,
        default_signature=prepared.compiled.manifest.default_signature,
        signatures=signatures,
    )
