"""Limits of a model: concurrency, queue, time and batching."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from inference.errors import InvalidSidecar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """The rules by which rows of several calls become one run.

    `max_rows` bounds a batch; 1 joins nothing. An idle model waits for more rows for
    `max_delay_seconds`. A batch is padded to the next of `allowed_rows` (ascending),
    for models that are slow at each new size.
    """

    max_rows: int = 64
    max_delay_seconds: float = 0.0
    allowed_rows: tuple[int, ...] = ()

    def padded(self, rows: int) -> int:
        """Return the number of rows that a batch of `rows` is padded to."""
        index = bisect_left(self.allowed_rows, rows)
        return self.allowed_rows[index] if index < len(self.allowed_rows) else rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one model.

    `concurrency` calls run at a time, each with `intra_op_threads`; `None` for the best
    measured on this machine. `max_queue` requests may wait, by the model's own sidecar
    if `own_queue`; each has at most `timeout_seconds`. `signatures` has the batching of
    those that differ.
    """

    concurrency: int | None = None
    intra_op_threads: int | None = None
    max_queue: int = 256
    own_queue: bool = False
    timeout_seconds: float = 30.0
    batching: Batching = field(default_factory=Batching)
    signatures: Mapping[str, Batching] = field(default_factory=dict)

    def plans(self, signatures: Iterable[str]) -> dict[str, Batching]:
        """Map names to batching. Raises `InvalidSidecar` for an unknown one."""
        known = list(signatures)

        for name in self.signatures:
            if name not in known:
                raise InvalidSidecar(
                    f"'batching.signatures.{name}': the model has no such signature; "
                    f"it has: {', '.join(sorted(known))}."
                )

        return {name: self.signatures.get(name, self.batching) for name in known}

    def deadline(self, now: float, timeout: float | None) -> float:
        """Return when a request that came `now` expires.

        It may ask for less time than the limit, not for more.
        """
        seconds = self.timeout_seconds
        return now + (seconds if timeout is None else min(timeout, seconds))
