"""A model's limits: the server's defaults with its sidecar's changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from inference.errors import InvalidSidecar
from inference.limits import Batching

if TYPE_CHECKING:
    from inference.limits import Limits
    from inference.repository.sidecar import BatchingTable, Sidecar

T = TypeVar("T")


def limits_with(sidecar: Sidecar, defaults: Limits) -> Limits:
    """Return `defaults` with the sidecar's changes. Raises `InvalidSidecar`."""
    table = sidecar.batching
    batching = _batching(defaults.batching, table, "batching")
    return replace(
        defaults,
        concurrency=sidecar.concurrency or defaults.concurrency,
        intra_op_threads=sidecar.intra_op_threads or defaults.intra_op_threads,
        max_queue=_either(sidecar.max_queue, defaults.max_queue),
        timeout_seconds=_either(sidecar.timeout, defaults.timeout_seconds),
        batching=batching,
        signatures={
            name: _batching(batching, own, f"batching.signatures.{name}")
            for name, own in table.signatures.items()
        },
    )


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
