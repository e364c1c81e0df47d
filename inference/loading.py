"""A model file to a servable that is mapped, measured and warm."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog

from inference.cpus import available_cpus
from inference.errors import InferenceError
from inference.sidecar import blaming_sidecar, read_sidecar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inference.artifact import Artifact
    from inference.batching import Batching
    from inference.compilation import Compilation
    from inference.limits import Limits
    from inference.repository import ModelFiles
    from inference.runtime import Servable

log = structlog.get_logger("tandem.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A servable and how it is to be called.

    `plans` has each signature's batching. `seconds` is what mapping and warming took;
    `fresh` says that it was compiled for that.
    """

    servable: Servable
    limits: Limits
    plans: Mapping[str, Batching]
    concurrency: int
    seconds: float
    fresh: bool


class Loader:
    """Loads one model at a time: what is measured then isn't disturbed by another."""

    def __init__(self, compilation: Compilation, limits: Limits) -> None:
        self._compilation = compilation
        self._limits = limits
        self._limiter = anyio.CapacityLimiter(1)

    async def load(self, files: ModelFiles, report: Callable[[str], None]) -> Loaded:
        """The model of `files`, ready to be called; `report` hears each stage.

        Raises `InferenceError` with what is wrong with it.
        """
        with blaming_sidecar(files.sidecar):
            limits = self._limits.with_sidecar(read_sidecar(files.sidecar))

        compiled = await self._compilation.compile(files, report)

        with blaming_sidecar(files.sidecar):
            plans = limits.plans(compiled.manifest.signatures)

        report("mapping")
        started = time.monotonic()
        servable = await anyio.to_thread.run_sync(
            partial(_open, compiled.artifact, limits), limiter=self._limiter
        )
        return Loaded(
            servable=servable,
            limits=limits,
            plans=plans,
            concurrency=limits.concurrency or available_cpus(),
            seconds=time.monotonic() - started,
            fresh=compiled.fresh,
        )


def _open(artifact: Artifact, limits: Limits) -> Servable:
    # TensorFlow takes seconds to import; whoever only compiles never needs it here.
    from inference.runtime import Servable, Threads

    intra_op = limits.intra_op_threads or available_cpus()
    servable = Servable(artifact, threads=Threads(intra_op=intra_op))

    try:
        servable.warm_up()
    except InferenceError as exc:
        # Zeros may be wrong for it; its clients' inputs need not be.
        log.info("warm-up failed", artifact=str(artifact.folder), reason=str(exc))

    return servable
