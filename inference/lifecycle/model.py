"""One version of one model: its state, and the way to its servable."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import structlog

from inference.artifacts.artifact import signatures_of
from inference.errors import LoadFailed, ModelLoading, ModelUnloaded
from inference.types import Load, ModelState, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from inference.lifecycle.instance import Instance
    from inference.runtime.loader import Prepared
    from inference.types import ModelId, Signature

NEVER = -math.inf

log = structlog.get_logger("tandem.models")


class Model:
    """A version as the engine knows it, from found to unloaded.

    `prepared` is what can be loaded, `instance` what is in memory: a version without
    one is loaded again by the next request. `ending` says that it goes for good. To be
    used on the event loop's thread.
    """

    def __init__(
        self, model_id: ModelId, path: str, *, changed: Callable[[], None]
    ) -> None:
        self.id = model_id
        self.path = path
        self.prepared: Prepared | None = None
        self.instance: Instance | None = None
        self.pinned = False
        self.ordered_pin: bool | None = None
        self.tokens: int | None = None
        self.unloaded = False
        self._changed = changed
        self._signatures: Mapping[str, Signature] = {}
        self._stage = ""
        self._begun = False
        self.ending = False
        self._ended = False
        self._error: str | None = None
        self._update_error: str | None = None
        self._last_request = NEVER

    @property
    def state(self) -> ModelState:
        if self._ended:
            return ModelState.END

        if self.ending:
            return ModelState.UNLOADING

        if self.unloaded or self._error is not None:
            return ModelState.END

        if self.prepared is not None:
            return ModelState.AVAILABLE

        return ModelState.LOADING if self._begun else ModelState.START

    @property
    def settled(self) -> bool:
        """Whether loading has ended, one way or the other."""
        return self.state in (ModelState.AVAILABLE, ModelState.END)

    @property
    def leaving(self) -> bool:
        """Whether it is to stay out of memory."""
        return self.unloaded or self.ending

    @property
    def current(self) -> bool:
        """Whether what its files held last is what answers, or would when loaded."""
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
            load=instance.batcher.load() if instance else Load(),
            labels=labels,
            pinned=self.pinned,
            integrity=self.prepared.compiled.integrity if self.prepared else None,
            memory_bytes=instance.nbytes if instance else 0,
            last_used=self._used(),
        )

    def begin(self, stage: str) -> None:
        """Loading goes on with `stage`; a version that serves goes on serving."""
        if not self._begun:
            log.info("model loading", **self._names(), path=self.path)

        self._begun = True
        self._stage = stage
        self._changed()

    def succeed(self, prepared: Prepared) -> None:
        """The version can be called from now on, as `prepared`."""
        manifest = prepared.compiled.manifest
        self.prepared = prepared
        self._signatures = signatures_of(manifest)
        self._stage = ""
        self._error = self._update_error = None
        log.info(
            "model available",
            **self._names(),
            format=manifest.source_format,
            optimization=manifest.optimization,
            compile_seconds=manifest.compile_seconds
            if prepared.compiled.fresh
            else None,
        )

        for note in manifest.notes:
            log.info("model note", **self._names(), note=note)

        self._changed()

    def fail(self, reason: str) -> None:
        """The files can't be loaded; `reason` is what clients and operators are told.

        What serves already goes on with what the files held before.
        """
        self._stage = ""

        if self.prepared is not None:
            self._update_error = reason
        else:
            self._error = reason

        # What an operator must know first: whether clients feel it.
        serving = "its former files serve on" if self.prepared else "nothing serves it"
        log.error("model failed to load", **self._names(), reason=reason, now=serving)
        self._changed()

    @property
    def idle(self) -> bool:
        """Whether nobody holds it now."""
        return self.instance is None or self.instance.idle

    @property
    def last_used(self) -> float:
        """When its last request came, or it was loaded, by `time.monotonic`."""
        return self.instance.last_used if self.instance else NEVER

    def resize(self, tokens: int) -> None:
        """Run `tokens` calls at a time, now and whenever it is loaded."""
        self.tokens = tokens
        if self.instance is not None:
            self.instance.batcher.resize(tokens)

    def install(self, instance: Instance) -> Instance | None:
        """`instance` answers from now on; returns the one that did."""
        if self.tokens is not None:
            instance.batcher.resize(self.tokens)

        before, self.instance = self.instance, instance
        log.info(
            "model loaded",
            **self._names(),
            load_seconds=round(instance.loaded.seconds, 3),
            memory_bytes=instance.nbytes,
            concurrency=instance.batcher.tokens,
        )
        self._changed()
        return before

    def uninstall(self) -> Instance | None:
        """Nobody is given the instance from now on; returns it, for its end."""
        self._last_request = self._latest()
        instance, self.instance = self.instance, None
        return instance

    def begin_end(self) -> None:
        """It is to go for good: no request is taken from now on."""
        self.ending = True
        self._changed()

    def end(self) -> None:
        """It is gone, and its servable closed."""
        self.ending = self._ended = True
        self.uninstall()
        self.prepared = None
        self._signatures = {}
        log.info("model unloaded", **self._names())
        self._changed()

    def check(self) -> None:
        """Raises `ModelUnloaded`, `LoadFailed`, `ModelLoading` unless it answers."""
        if self.prepared is not None and not self.unloaded and not self.ending:
            return

        version = f"Version {self.id.version} of model '{self.id.name}'"

        if self.ending:
            raise ModelUnloaded(
                f"{version} is being unloaded: its files are gone, or another version "
                "serves in its place."
            )

        if self.unloaded:
            raise ModelUnloaded(
                f"{version} has been unloaded; an operator's load brings it back."
            )

        if self._error is not None:
            raise LoadFailed(f"{self.id.spoken} could not be loaded: {self._error}")

        doing = f" ({self._stage})" if self._stage else ""
        raise ModelLoading(f"{self.id.spoken} is still loading{doing}; ask again soon.")

    def check_current(self) -> None:
        """Raises `LoadFailed` if what answers isn't what its files hold now."""
        if self._update_error is not None:
            raise LoadFailed(
                f"What the files of model '{self.id.name}' hold now can't be loaded: "
                f"{self._update_error} What they held before is served."
            )

    def deadline(self, now: float, timeout: float | None) -> float:
        """When a request that came `now` ends. Raises what `check` raises."""
        self.check()
        assert self.prepared is not None
        return self.prepared.limits.deadline(now, timeout)

    def admit(self) -> None:
        """Raises what `predict` would raise now whatever it is given.

        What `check` raises, and `Overloaded`: cheaper to know before a body is read.
        """
        self.check()
        instance = self.instance

        if instance is not None:
            instance.batcher.check(instance.loaded.limits.timeout_seconds)

    def expect(self) -> AbstractContextManager[None]:
        """A block that keeps a place for a request whose body is read meanwhile.

        Raises what `admit` raises.
        """
        self.check()
        instance = self.instance

        if instance is None:
            return nullcontext()

        return instance.batcher.expect(instance.loaded.limits.timeout_seconds)

    def _latest(self) -> float:
        used = self.instance is not None and self.instance.used
        return self.last_used if used else self._last_request

    def _used(self) -> float | None:
        latest = self._latest()
        return None if latest == NEVER else time.time() - (time.monotonic() - latest)

    def _names(self) -> dict[str, str | int]:
        return {"model": self.id.name, "version": self.id.version}
