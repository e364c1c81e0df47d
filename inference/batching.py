"""Which calls run together: a queue that gives batches. Pure; nothing waits here."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import ExecutionFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference.calls import Call, Group
    from inference.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How rows of several calls become one run.

    `max_rows` bounds a batch; 1 joins nothing. `max_delay_seconds` is how long an idle
    model waits for more rows. A batch is padded to the next of `allowed_rows`
    (ascending), which spares models that prepare anew for each size.
    """

    max_rows: int = 64
    max_delay_seconds: float = 0.0
    allowed_rows: tuple[int, ...] = ()

    def padded(self, rows: int) -> int:
        """How many rows a batch of `rows` runs with."""
        index = bisect_left(self.allowed_rows, rows)
        return self.allowed_rows[index] if index < len(self.allowed_rows) else rows


class BatchQueue:
    """Calls that wait, in the order in which they came.

    `plans` has the `Batching` of each signature.
    """

    def __init__(self, plans: Mapping[str, Batching]) -> None:
        self._plans = plans
        # Dictionaries as ordered sets: a call whose client hangs up leaves at once.
        self._calls: dict[Call, None] = {}
        self._groups: dict[Group, dict[Call, None]] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, call: Call) -> bool:
        return call in self._calls

    def add(self, call: Call) -> None:
        self._calls[call] = None

        if call.group is not None:
            self._groups.setdefault(call.group, {})[call] = None

    def discard(self, call: Call) -> None:
        """Take a call out; nothing happens when it is not there."""
        if call not in self._calls:
            return

        del self._calls[call]

        if call.group is None:
            return

        group = self._groups[call.group]
        del group[call]

        if not group:
            del self._groups[call.group]

    def hold_until(self) -> float:
        """Until when the first call is held back for others to join it.

        On anyio's clock, in seconds; a moment in the past is no delay.
        """
        head = next(iter(self._calls), None)

        if head is None or head.group is None:
            return 0.0

        plan = self._plans[head.signature]

        if not plan.max_delay_seconds:
            return 0.0

        rows = sum(call.rows for call in self._groups[head.group])
        return head.arrived + plan.max_delay_seconds if rows < plan.max_rows else 0.0

    def take(self) -> list[Call]:
        """The next batch: the first call, and later ones that fit beside it.

        A call larger than `max_rows` is a batch of its own. Empty when none waits.
        """
        head = next(iter(self._calls), None)

        if head is None:
            return []

        batch = [head] if head.group is None else self._fitting(head, head.group)

        for call in batch:
            self.discard(call)

        return batch

    def _fitting(self, head: Call, group: Group) -> list[Call]:
        limit = self._plans[head.signature].max_rows
        batch: list[Call] = []
        rows = 0

        for call in self._groups[group]:
            rows += call.rows

            if batch and rows > limit:
                break

            batch.append(call)

        return batch


def join(calls: Sequence[Call], plan: Batching) -> dict[str, Array]:
    """The inputs of `calls` one under the other, padded with the last row's copies."""
    rows = sum(call.rows for call in calls)
    padding = plan.padded(rows) - rows
    return {
        name: _join_one([call.inputs[name] for call in calls], padding)
        for name in calls[0].inputs
    }


def split(
    outputs: Mapping[str, Array], calls: Sequence[Call]
) -> list[Mapping[str, Array]]:
    """What each of `calls` gets of `outputs`; padding at the end is nobody's.

    Raises `ExecutionFailed` where an output has fewer rows than the calls.
    """
    _check_rows(outputs, sum(call.rows for call in calls))
    results: list[Mapping[str, Array]] = []
    start = 0

    for call in calls:
        end = start + call.rows
        results.append({name: value[start:end] for name, value in outputs.items()})
        start = end

    return results


def _check_rows(outputs: Mapping[str, Array], rows: int) -> None:
    for name, value in outputs.items():
        if not value.ndim or len(value) < rows:
            raise ExecutionFailed(f"Output '{name}' hasn't a row for each of {rows}.")


def _join_one(arrays: list[Array], padding: int) -> Array:
    if padding:
        arrays.append(np.repeat(arrays[-1][-1:], padding, axis=0))

    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
