"""The number of rows of a call of large work."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference import Batching, Signature

MOST_ROWS = 4096

CALL_SECONDS = 0.005
"""A call that takes as long is worth its overhead: chunks grow no further.

Synchronous calls wait for one of them, at most.
"""

SHRINK_SECONDS = 4 * CALL_SECONDS
"""A call that takes longer shares the machine: chunks get smaller."""


class ChunkSize:
    """The number of rows of a call: it grows while calls are short.

    It shrinks where they get long, as when others want the model. Where rows of several
    requests may be joined, any number may be; elsewhere it stays at the model's batch
    size.
    """

    def __init__(self, signature: Signature, batching: Batching) -> None:
        fixed = _fixed_rows(signature)
        self._grows = signature.batchable and not batching.allowed_rows and not fixed
        self.rows = fixed or max((batching.max_rows, *batching.allowed_rows))
        self._least = self.rows

    def note(self, rows: int, seconds: float) -> None:
        """Learn from a call."""
        if not self._grows or rows < self.rows:
            return

        if seconds < CALL_SECONDS:
            self.rows = min(2 * self.rows, max(MOST_ROWS, self._least))
        elif seconds > SHRINK_SECONDS:
            self.rows = max(self.rows // 2, self._least)


def _fixed_rows(signature: Signature) -> int | None:
    """Return the only number of rows that a signature takes, if there is one."""
    shapes = [spec.shape for spec in signature.inputs.values() if spec.required]
    return next((shape[0] for shape in shapes if shape and shape[0]), None)
