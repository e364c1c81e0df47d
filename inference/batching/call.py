"""One request's call of a model: its inputs and its outcome."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeAlias

from inference.types import Times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from inference.types import Array, Signature

Group: TypeAlias = tuple[str, tuple[str, ...], tuple[tuple[int, ...], ...]]
"""The key of calls that can run as one: signature, outputs, row shapes."""


class Call:
    """Bound inputs for one signature, and their outcome.

    `rows` is the number of rows that may be joined along dimension 0 to those of calls
    of the same `group`; a `group` of `None` runs alone. `arrived` and `deadline` are on
    anyio's clock, in seconds. `abandoned` says that the caller has stopped waiting.
    `started`, by `perf_counter`, is when its batch began, which took `compute_seconds`.
    `then` is called on the loop with the call that has ended, in place of its future.
    """

    __slots__ = (
        "_created",
        "_error",
        "_outcome",
        "_result",
        "_then",
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
        then: Callable[[Call], None] | None = None,
    ) -> None:
        self.signature = signature.name
        self.inputs = inputs
        self.outputs = outputs
        self.rows = joinable_rows(signature, inputs, outputs)
        self.group: Group | None = None
        if self.rows:
            shapes = tuple([array.shape[1:] for array in inputs.values()])
            self.group = signature.name, outputs, shapes

        self.arrived = arrived
        self.deadline = deadline
        self.abandoned = False
        self.ended = False
        self._outcome: asyncio.Future[Mapping[str, Array]] | None = None
        self._then = then
        self._result: Mapping[str, Array] = {}
        self._error: Exception | None = None
        self._created = self.started = time.perf_counter()
        self.compute_seconds = 0.0

    @property
    def times(self) -> Times:
        """Return how long it waited, and ran with others of its batch."""
        return Times(0.0, self.started - self._created, self.compute_seconds)

    def succeed(self, outputs: Mapping[str, Array]) -> None:
        if self.ended:
            return

        self.ended = True
        self._result = outputs
        outcome = self._outcome
        if self._then is not None:
            self._tell()
        elif outcome is not None and not outcome.done():
            outcome.set_result(outputs)

    def fail(self, error: Exception) -> None:
        # The first outcome stays: a thread that ends late doesn't change an expiry.
        if self.ended:
            return

        self.ended = True
        self._error = error
        outcome = self._outcome
        if self._then is not None:
            self._tell()
        elif outcome is not None and not outcome.done():
            outcome.set_exception(error)

    def forget(self) -> bool:
        """Call `then` no more; return whether it was still to be called."""
        waited, self._then = self._then is not None, None
        return waited

    def _tell(self) -> None:
        # In a turn to come: whoever settles a batch hands out the next one first.
        asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(self)

    @property
    def error(self) -> Exception | None:
        """The error of a call that has ended in one."""
        return self._error

    def outcome(self) -> Mapping[str, Array]:
        """Return the outputs by name of a call that has ended, or raise its error."""
        if self._error is not None:
            raise self._error

        return self._result

    def result(self) -> asyncio.Future[Mapping[str, Array]]:
        """Return the future of the outputs by name, or of the call's error.

        For one caller, who awaits it.
        """
        # A bare future: an event of anyio's costs 3 µs more.
        self._outcome = asyncio.get_running_loop().create_future()
        if self._error is not None:
            self._outcome.set_exception(self._error)
        elif self.ended:
            self._outcome.set_result(self._result)

        return self._outcome


def joinable_rows(
    signature: Signature, inputs: Mapping[str, Array], outputs: tuple[str, ...] = ()
) -> int:
    """Return the number of rows that may be joined to others; 0 to run alone.

    Calls run alone if their signature isn't proven batchable, if they set an optional
    input (one value for the whole run), if they ask for an output whose rows can't be
    joined, or if their inputs differ in row counts.
    """
    if not signature.batchable or not signature.optional.isdisjoint(inputs):
        return 0

    if signature.alone and not set(outputs).isdisjoint(signature.alone):
        return 0

    rows: int | None = None

    for array in inputs.values():
        count = len(array) if array.ndim else 0

        if rows not in (None, count):
            return 0

        rows = count

    return rows or 0
