"""One version of one model: its state, and the way to its servable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import structlog

from inference.binding import bind
from inference.calls import Call
from inference.errors import LoadFailed, ModelLoading, UnknownSignature
from inference.types import Load, ModelState, ModelStatus, PredictResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from inference.artifact import Manifest
    from inference.batcher import Batcher
    from inference.loading import Loaded
    from inference.repository import ModelFiles
    from inference.runtime import Servable
    from inference.types import PredictRequest, Signature

log = structlog.get_logger("tandem.models")


class Model:
    """A version as the engine knows it, from found to closed.

    To be used on the event loop's thread.
    """

    def __init__(self, files: ModelFiles, *, changed: Callable[[], None]) -> None:
        self.files = files
        self._changed = changed
        self._state = ModelState.START
        self._stage = ""
        self._error: str | None = None
        self._manifest: Manifest | None = None
        self._loaded: Loaded | None = None
        self._batcher: Batcher | None = None

    @property
    def settled(self) -> bool:
        """Whether loading has ended, one way or the other."""
        return self._state in (ModelState.AVAILABLE, ModelState.END)

    def status(self) -> ModelStatus:
        manifest = self._manifest
        loaded = self._loaded
        return ModelStatus(
            id=self.files.id,
            path=str(self.files.path),
            state=self._state,
            stage=self._stage,
            error=self._error,
            format=manifest.source_format if manifest else None,
            writer=manifest.source_writer if manifest else None,
            default_signature=manifest.default_signature if manifest else None,
            signatures=loaded.servable.signatures if loaded else {},
            concurrency=loaded.concurrency if loaded else None,
            load_seconds=loaded.seconds if loaded else None,
            load=self._batcher.load() if self._batcher else Load(),
        )

    def begin(self, stage: str) -> None:
        """Loading goes on with `stage`."""
        if self._state is ModelState.START:
            log.info("model loading", **self._names(), path=str(self.files.path))

        self._state = ModelState.LOADING
        self._stage = stage
        self._changed()

    def succeed(self, loaded: Loaded, batcher: Batcher) -> None:
        """The version can be called from now on, through `batcher`."""
        manifest = loaded.servable.manifest
        self._loaded = loaded
        self._batcher = batcher
        self._manifest = manifest
        self._state = ModelState.AVAILABLE
        self._stage = ""
        log.info(
            "model available",
            **self._names(),
            format=manifest.source_format,
            optimization=manifest.optimization,
            concurrency=loaded.concurrency,
            compile_seconds=manifest.compile_seconds if loaded.fresh else None,
            load_seconds=round(loaded.seconds, 3),
        )

        for note in manifest.notes:
            log.info("model note", **self._names(), note=note)

        self._changed()

    def fail(self, reason: str) -> None:
        """The version can't be loaded; `reason` is what clients are told."""
        self._state = ModelState.END
        self._stage = ""
        self._error = reason
        log.error("model failed to load", **self._names(), reason=reason)
        self._changed()

    def close(self) -> None:
        """Give the servable's memory back. No call may be under way. Idempotent."""
        loaded, self._loaded = self._loaded, None

        if loaded is not None:
            loaded.servable.close()
            self._state = ModelState.END
            log.info("model unloaded", **self._names())

    def admit(self) -> None:
        """Raises what `predict` would raise now whatever it is given.

        `ModelLoading`, `LoadFailed`, `Overloaded`: cheaper to know before a body is
        read.
        """
        loaded, batcher = self._serving()
        batcher.check(loaded.limits.timeout_seconds)

    async def predict(self, request: PredictRequest) -> PredictResult:
        """Bind the inputs and run them, beside or together with others'.

        Raises `ModelLoading`, `LoadFailed`, `UnknownSignature`, `InputMismatch`,
        `Overloaded`, `DeadlineExceeded`, `ExecutionFailed`.
        """
        loaded, batcher = self._serving()
        arrived = anyio.current_time()
        signature = self._signature(loaded.servable, request.signature)
        names = _wanted(signature, request.outputs)
        call = Call(
            signature,
            bind(signature, request.inputs),
            names,
            arrived=arrived,
            deadline=loaded.limits.deadline(arrived, request.timeout),
        )
        outputs = await batcher.submit(call)
        return PredictResult(model=self.files.id, signature=signature, outputs=outputs)

    def _serving(self) -> tuple[Loaded, Batcher]:
        if self._loaded is not None and self._batcher is not None:
            return self._loaded, self._batcher

        name = self.files.id.name

        if self._error is not None:
            raise LoadFailed(f"Model '{name}' could not be loaded: {self._error}")

        doing = f" ({self._stage})" if self._stage else ""
        raise ModelLoading(f"Model '{name}' is still loading{doing}; ask again soon.")

    def _signature(self, servable: Servable, name: str | None) -> Signature:
        wanted = name or servable.manifest.default_signature

        if wanted not in servable.signatures:
            raise UnknownSignature(
                f"Model '{self.files.id.name}' has no signature '{wanted}'; it has: "
                f"{', '.join(sorted(servable.signatures))}."
            )

        return servable.signatures[wanted]

    def _names(self) -> dict[str, str | int]:
        return {"model": self.files.id.name, "version": self.files.id.version}


def _wanted(signature: Signature, names: tuple[str, ...] | None) -> tuple[str, ...]:
    if names is None:
        return tuple(signature.outputs)

    unknown = [name for name in names if name not in signature.outputs]

    if unknown:
        raise UnknownSignature(
            f"Signature '{signature.name}' has no output '{unknown[0]}'; it has: "
            f"{', '.join(signature.outputs)}."
        )

    return names
