"""A model file to a servable that is mapped, measured and warm."""

from __future__ import annotations

import time
from dataclasses import dataclass
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
    from inference.tuning import Tuning

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
        sidecar = read_sidecar(files.sidecar)

        with blaming_sidecar(files.sidecar):
            limits = self._limits.with_sidecar(sidecar)

        compiled = await self._compilation.compile(files, report)

        with blaming_sidecar(files.sidecar):
            plans = limits.plans(compiled.manifest.signatures)

        report("mapping")
        started = time.monotonic()
        servable, tuning = await anyio.to_thread.run_sync(
            _open, compiled.artifact, limits, limiter=self._limiter
        )
        log.info("calls at a time", model=files.id.name, chosen=tuning.describe())
        return Loaded(
            servable=servable,
            limits=limits,
            plans=plans,
            concurrency=tuning.concurrency,
            seconds=time.monotonic() - started,
            fresh=compiled.fresh,
        )


def _open(artifact: Artifact, limits: Limits) -> tuple[Servable, Tuning]:
    # TensorFlow takes seconds to import; whoever only compiles never needs it here.
    from inference.runtime import Servable, Threads
    from inference.tuning import BATCH_ROWS, tune

    tuning = tune(
        artifact,
        cpus=available_cpus(),
        rows=min(BATCH_ROWS, limits.batching.max_rows),
        concurrency=limits.concurrency,
        intra_op=limits.intra_op_threads,
    )
    threads = Threads(intra_op=tuning.intra_op, calls=tuning.concurrency)
    servable = Servable(artifact, threads=threads, time_limit=limits.timeout_seconds)

    try:
        servable.warm_up()
    except InferenceError as exc:
        # Zeros may be wrong for it; its clients' inputs need not be.
        log.info("warm-up failed", artifact=str(artifact.folder), reason=str(exc))
    except BaseException:
        servable.close()
        raise

    return servable, tuning
