"""One request's call of a model: its inputs and its outcome."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array, Signature

Group: TypeAlias = tuple[str, tuple[str, ...], tuple[tuple[int, ...], ...]]
"""The key of calls that can run as one: signature, outputs, row shapes."""


class Call:
    """Bound inputs for one signature, and their outcome.

    `rows` is the number of rows that may be joined along dimension 0 to those of calls
    of the same `group`; a `group` of `None` runs alone. `arrived` and `deadline` are on
    anyio's clock, in seconds. `abandoned` says that the caller has stopped waiting.
    `started`, by `perf_counter`, is when its batch began, which took `compute_seconds`.
    """

    __slots__ = (
        "_created",
        "_error",
        "_result",
        "_waiter",
        "abandoned",
        "arrived",
        "compute_seconds",
        "deadline",
        "ended",
        "group",
        "inputs",
        "outputs",
        "rows",
        "signature",
        "started",
    )

    def __init__(
        self,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: tuple[str, ...],
        *,
        arrived: float,
        deadline: float,
    ) -> None:
        self.signature = signature.name
        self.inputs = inputs
        self.outputs = outputs
        self.rows = joinable_rows(signature, inputs, outputs)
        self.group = self._group() if self.rows else None
        self.arrived = arrived
        self.deadline = deadline
        self.abandoned = False
        self.ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._result: Mapping[str, Array] = {}
        self._error: Exception | None = None
        self._created = self.started = time.perf_counter()
        self.compute_seconds = 0.0

    @property
    def queue_seconds(self) -> float:
        return self.started - self._created

    def succeed(self, outputs: Mapping[str, Array]) -> None:
        if not self.ended:
            self._result = outputs
            self._end()

    def fail(self, error: Exception) -> None:
        # The first outcome stays: a thread that ends late doesn't change an expiry.
        if not self.ended:
            self._error = error
            self._end()

    async def result(self) -> Mapping[str, Array]:
        """Wait for the outputs by name. For one caller; raises the call's error."""
        if not self.ended:
            # A bare future: an event of anyio's costs 3 µs more.
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

        if self._error is not None:
            raise self._error

        return self._result

    def _end(self) -> None:
        self.ended = True

        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _group(self) -> Group:
        shapes = tuple([array.shape[1:] for array in self.inputs.values()])
        return (self.signature, self.outputs, shapes)


def joinable_rows(
    signature: Signature, inputs: Mapping[str, Array], outputs: tuple[str, ...] = ()
) -> int:
    """Return the number of rows that may be joined to others; 0 to run alone.

    Calls run alone if their signature isn't proven batchable, if they set an optional
    input (one value for the whole run), if they ask for an output whose rows can't be
    joined, or if their inputs differ in row counts.
    """
    if not signature.batchable:
        return 0

    if signature.alone and not set(outputs).isdisjoint(signature.alone):
        return 0

    rows: int | None = None

    for name, array in inputs.items():
        count = len(array) if array.ndim else 0

        if rows not in (None, count) or not signature.inputs[name].required:
            return 0

        rows = count

    return rows or 0
