"""One request on its way through a model: what it asks for, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import anyio

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.types import Array, Signature

Group: TypeAlias = tuple[str, tuple[str, ...], tuple[tuple[int, ...], ...]]
"""What calls have in common that can run as one: signature, outputs, row shapes."""


class Call:
    """Bound inputs for one signature, and the event of their outcome.

    `rows` is how many rows it has, and `group` with which calls they may be joined
    along dimension 0; a `group` of `None` runs alone. `arrived` and `deadline` are on
    anyio's clock, in seconds. `gone` says that nobody waits for the outcome any more.
    """

    __slots__ = (
        "_ended",
        "_error",
        "_result",
        "arrived",
        "deadline",
        "ended",
        "gone",
        "group",
        "inputs",
        "outputs",
        "rows",
        "signature",
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
        self.rows = joinable_rows(signature, inputs)
        self.group = self._group() if self.rows else None
        self.arrived = arrived
        self.deadline = deadline
        self.gone = False
        self.ended = False
        self._ended = anyio.Event()
        self._result: Mapping[str, Array] = {}
        self._error: Exception | None = None

    def succeed(self, outputs: Mapping[str, Array]) -> None:
        if not self.ended:
            self._result = outputs
            self._end()

    def fail(self, error: Exception) -> None:
        """The first outcome stays: a thread that ends late doesn't change an expiry."""
        if not self.ended:
            self._error = error
            self._end()

    async def result(self) -> Mapping[str, Array]:
        """The outputs by name. Raises what the call failed with."""
        await self._ended.wait()

        if self._error is not None:
            raise self._error

        return self._result

    def _end(self) -> None:
        self.ended = True
        self._ended.set()

    def _group(self) -> Group:
        shapes = tuple([array.shape[1:] for array in self.inputs.values()])
        return (self.signature, self.outputs, shapes)


def joinable_rows(signature: Signature, inputs: Mapping[str, Array]) -> int:
    """How many rows may be joined to others'; 0 for a call that runs alone.

    Alone are calls of signatures not proven batchable, those with an optional input
    (one value for the whole run), and those whose inputs don't agree on a count.
    """
    if not signature.batchable:
        return 0

    rows: int | None = None

    for name, array in inputs.items():
        count = len(array) if array.ndim else 0

        if rows not in (None, count) or not signature.inputs[name].required:
            return 0

        rows = count

    return rows or 0
