"""A model for tests of bulk runs: it doubles numbers, and refuses some."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from inference import Batching, InputMismatch, Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference import Output, Shape

REFUSED = -1.0


def signature(*, batchable: bool = True, shape: Shape = (None,)) -> Signature:
    x = TensorSpec(name="x", tensor="x:0", dtype="float64", shape=shape)
    return Signature(
        name="serving_default", inputs={"x": x}, outputs={}, batchable=batchable
    )


class Doubling:
    """Doubles; refuses a call with a row of `REFUSED`. `calls` are their rows."""

    def __init__(self, *, threads: int = 2, max_rows: int = 4) -> None:
        self.concurrency = threads
        self.calls: list[int] = []
        self._max_rows = max_rows
        self._lock = threading.Lock()

    def batching(self, signature: Signature) -> Batching:
        return Batching(max_rows=self._max_rows)

    def run(
        self, signature: Signature, inputs: Mapping[str, Any]
    ) -> Mapping[str, Output]:
        (value,) = inputs.values()
        array = np.asarray(value if isinstance(value, np.ndarray) else value.lists())

        with self._lock:
            self.calls.append(len(array))

        if np.any(array == REFUSED):
            raise InputMismatch("it is refused")

        return {"y": 2.0 * array}
