"""Queue of calls that are taken in batches. Pure; nothing waits here."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import ExecutionFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from inference.batching.call import Call, Group
    from inference.limits import Batching
    from inference.types import Array


class Rows:
    """The waiting calls of one group, in order of arrival, and their rows."""

    __slots__ = ("calls", "count")

    def __init__(self) -> None:
        # A dictionary as an ordered set: a disconnected client's call leaves at once.
        self.calls: dict[Call, None] = {}
        self.count = 0


class BatchQueue:
    """Waiting calls, in order of arrival; `plans` has each signature's batching.

    `calls` is to be read only.
    """

    def __init__(self, plans: Mapping[str, Batching]) -> None:
        self._plans = plans
        self.calls: dict[Call, None] = {}
        self._groups: dict[Group, Rows] = {}

    def __len__(self) -> int:
        return len(self.calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(self.calls)

    def __contains__(self, call: Call) -> bool:
        return call in self.calls

    def add(self, call: Call) -> None:
        self.calls[call] = None

        if call.group is None:
            return

        group = self._groups.get(call.group)
        if group is None:
            group = self._groups[call.group] = Rows()

        group.calls[call] = None
        group.count += call.rows

    def discard(self, call: Call) -> None:
        """Remove a call, if it is there."""
        if call not in self.calls:
            return

        del self.calls[call]

        if call.group is None:
            return

        group = self._groups[call.group]
        del group.calls[call]
        group.count -= call.rows

        if not group.calls:
            del self._groups[call.group]

    def held_until(self) -> float:
        """Return when the first waiting call may be taken, if no other arrives.

        On anyio's clock, in seconds; infinity if none waits.
        """
        return min(map(self._held_until, self.calls), default=math.inf)

    def take(self, now: float) -> list[Call]:
        """Remove and return the next batch; empty if no call may run yet.

        That is the first call that isn't held back, and others that fit beside it. A
        call of more than `max_rows` rows is a batch of its own.
        """
        for head in self.calls:
            if self._held_until(head) <= now:
                break
        else:
            return []

        if head.group is None:
            del self.calls[head]
            return [head]

        batch = self._fitting(head, head.group)
        group = self._groups[head.group]
        group.count -= sum([call.rows for call in batch])

        for call in batch:
            del self.calls[call], group.calls[call]

        if not group.calls:
            del self._groups[head.group]

        return batch

    def take_all(self) -> list[Call]:
        calls = list(self.calls)
        self.calls.clear()
        self._groups.clear()
        return calls

    def _held_until(self, call: Call) -> float:
        plan = self._plans[call.signature]

        if call.group is None or not plan.max_delay_seconds:
            return -math.inf

        until = call.arrived + plan.max_delay_seconds
        # A full batch doesn't wait, nor does a call that would have no time left.
        full = self._groups[call.group].count >= plan.max_rows
        return -math.inf if full or until >= call.deadline else until

    def _fitting(self, head: Call, group: Group) -> list[Call]:
        limit = self._plans[head.signature].max_rows
        batch: list[Call] = []
        rows = 0

        for call in self._groups[group].calls:
            rows += call.rows

            if batch and rows > limit:
                break

            batch.append(call)

        return batch


def join(calls: Sequence[Call], plan: Batching) -> dict[str, Array]:
    """Concatenate the inputs of `calls`, padded with copies of the last row."""
    rows = sum(call.rows for call in calls)
    padding = plan.padded(rows) - rows
    return {
        name: _join_one([call.inputs[name] for call in calls], padding)
        for name in calls[0].inputs
    }


def split(
    outputs: Mapping[str, Array], calls: Sequence[Call], plan: Batching
) -> list[Mapping[str, Array]]:
    """Split `outputs` into those of each of `calls`; drop the padding's rows.

    Raises `ExecutionFailed` if an output doesn't have one row for each input row.
    """
    _check_rows(outputs, plan.padded(sum(call.rows for call in calls)))
    results: list[Mapping[str, Array]] = []
    start = 0

    for call in calls:
        end = start + call.rows
        results.append({name: value[start:end] for name, value in outputs.items()})
        start = end

    return results


def _check_rows(outputs: Mapping[str, Array], rows: int) -> None:
    for name, value in outputs.items():
        if not value.ndim or len(value) != rows:
            shape = list(value.shape)
            raise ExecutionFailed(
                f"The model gave output '{name}' of shape {shape} for {rows} rows."
            )


def _join_one(arrays: list[Array], padding: int) -> Array:
    if padding:
        arrays.append(np.repeat(arrays[-1][-1:], padding, axis=0))

    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
