"""How much a model takes at a time: the server's defaults, and the sidecar's words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from inference.batching import Batching
from inference.errors import InvalidSidecar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from inference.sidecar import BatchingTable, Sidecar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one model is allowed.

    `concurrency` calls run at a time, each with `intra_op_threads`; `None` for what
    measures best on this machine. `max_queue` requests wait; `timeout_seconds` is the
    longest that one takes. `signatures` has the batching of those that differ.
    """

    concurrency: int | None = None
    intra_op_threads: int | None = None
    max_queue: int = 256
    timeout_seconds: float = 30.0
    batching: Batching = field(default_factory=Batching)
    signatures: Mapping[str, Batching] = field(default_factory=dict)

    def with_sidecar(self, sidecar: Sidecar) -> Limits:
        """These limits, but for what the sidecar says. Raises `InvalidSidecar`."""
        table = sidecar.batching
        batching = _batching(self.batching, table, "batching")
        return replace(
            self,
            concurrency=sidecar.concurrency or self.concurrency,
            intra_op_threads=sidecar.intra_op_threads or self.intra_op_threads,
            max_queue=_either(sidecar.max_queue, self.max_queue),
            timeout_seconds=_either(sidecar.timeout, self.timeout_seconds),
            batching=batching,
            signatures={
                name: _batching(batching, own, f"batching.signatures.{name}")
                for name, own in table.signatures.items()
            },
        )

    def plans(self, signatures: Iterable[str]) -> dict[str, Batching]:
        """Each signature's batching. Raises `InvalidSidecar` for an unknown name."""
        known = list(signatures)

        for name in self.signatures:
            if name not in known:
                raise InvalidSidecar(
                    f"'batching.signatures.{name}': the model has no such signature; "
                    f"it has: {', '.join(sorted(known))}."
                )

        return {name: self.signatures.get(name, self.batching) for name in known}

    def deadline(self, now: float, timeout: float | None) -> float:
        """When a request that came `now` ends; it may ask for less time, not more."""
        seconds = self.timeout_seconds
        return now + (seconds if timeout is None else min(timeout, seconds))


def _either(own: T | None, default: T) -> T:
    return default if own is None else own


def _batching(base: Batching, table: BatchingTable, place: str) -> Batching:
    rows = _max_rows(base, table)
    allowed = table.allowed_rows

    if allowed is not None and allowed[-1] != rows:
        raise InvalidSidecar(
            f"'{place}': the largest of allowed_rows is {allowed[-1]}, and max_rows is "
            f"{rows}; they must be the same."
        )

    if allowed is None:
        allowed = tuple(size for size in base.allowed_rows if size <= rows)

    delay = table.max_delay_ms
    return Batching(
        max_rows=rows,
        max_delay_seconds=base.max_delay_seconds if delay is None else delay / 1000,
        allowed_rows=allowed,
    )


def _max_rows(base: Batching, table: BatchingTable) -> int:
    if table.max_rows is not None:
        return table.max_rows

    return table.allowed_rows[-1] if table.allowed_rows else base.max_rows
