"""The number of rows of a call of large work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference import Batching, Signature

MOST_ROWS = 4096

CALL_SECONDS = 0.005
"""A call that takes as long is worth its overhead: it needs no more rows."""

SHARED_SECONDS = 0.002
"""The same where synchronous calls come, which may have to wait for one of these."""

LONG = 4
"""A call that takes so many times as long has too many rows."""


class ChunkSize:
    """The number of rows of a call: more while calls are short, fewer while long.

    Alone on the machine a call has a batch's rows at least, and grows where rows of
    several requests may be joined. Beside synchronous calls it has a batch's at most.
    Where a signature takes one number of rows only, it has that.
    """

    def __init__(
        self, signature: Signature, batching: Batching, *, grows: bool = True
    ) -> None:
        fixed = _fixed_rows(signature)
        joined = signature.batchable and not batching.allowed_rows and not fixed
        self._batch = fixed or max((batching.max_rows, *batching.allowed_rows))
        self._most = max(MOST_ROWS, self._batch) if grows and joined else self._batch
        self._least = fixed or 1
        self._rows = self._batch

    def rows(self, *, shared: bool = False) -> int:
        """Return the rows of the next call, `shared` beside synchronous ones."""
        return min(self._rows, self._batch) if shared else max(self._rows, self._batch)

    def note(self, rows: int, seconds: float, *, shared: bool = False) -> None:
        """Learn from a call."""
        now = self.rows(shared=shared)
        enough = SHARED_SECONDS if shared else CALL_SECONDS

        if seconds < enough and rows >= now:
            now *= 2
        elif seconds > LONG * enough:
            now //= 2

        least, most = (
            (self._least, self._batch) if shared else (self._batch, self._most)
        )
        self._rows = min(max(now, least), most)


def _fixed_rows(signature: Signature) -> int | None:
    """Return the only number of rows that a signature takes, if there is one."""
    shapes = [spec.shape for spec in signature.inputs.values() if spec.required]
    return next((shape[0] for shape in shapes if shape and shape[0]), None)
