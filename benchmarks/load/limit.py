"""The in-process limit: our runtime in a tight loop, at each size of batch."""

from __future__ import annotations

import statistics
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from benchmarks.models import rows_for

if TYPE_CHECKING:
    from pathlib import Path

SIZES = (1, 2, 4, 8, 16, 32, 64)
LEAST_CALLS = 3


def rows_per_second(folder: Path, size: int, seconds: float) -> float:
    """What the artifact in `folder` does with batches of `size` rows.

    By the median call of `seconds`; runs in the process that calls, on one thread.
    """
    servable = _servable(folder)
    signature = servable.signatures[servable.manifest.default_signature]
    [(name, spec)] = signature.inputs.items()
    inputs = {name: rows_for(spec.shape[1:], size)}
    outputs = tuple(signature.outputs)
    taken: list[float] = []
    servable.run(signature.name, inputs, outputs)
    end = time.perf_counter() + seconds

    while len(taken) < LEAST_CALLS or time.perf_counter() < end:
        started = time.perf_counter()
        servable.run(signature.name, inputs, outputs)
        taken.append(time.perf_counter() - started)

    return size / statistics.median(taken)


@cache
def _servable(folder: Path) -> Any:
    from inference.artifacts.artifact import Artifact
    from inference.runtime.servable import Servable, Threads

    return Servable(Artifact(folder), threads=Threads(intra_op=1))
