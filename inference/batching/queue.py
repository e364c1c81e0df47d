"""Which calls run together: a queue that gives batches. Pure; nothing waits here."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from inference.errors import ExecutionFailed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from inference.batching.call import Call, Group
    from inference.limits import Batching
    from inference.types import Array


class BatchQueue:
    """Calls that wait, in the order in which they came.

    `plans` has the `Batching` of each signature.
    """

    def __init__(self, plans: Mapping[str, Batching]) -> None:
        self._plans = plans
        # Dictionaries as ordered sets: a call whose client hangs up leaves at once.
        self._calls: dict[Call, None] = {}
        self._groups: dict[Group, dict[Call, None]] = {}
        self._rows: Counter[Group] = Counter()

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, call: Call) -> bool:
        return call in self._calls

    def add(self, call: Call) -> None:
        self._calls[call] = None

        if call.group is not None:
            self._groups.setdefault(call.group, {})[call] = None
            self._rows[call.group] += call.rows

    def discard(self, call: Call) -> None:
        """Take a call out; nothing happens when it is not there."""
        if call not in self._calls:
            return

        del self._calls[call]

        if call.group is None:
            return

        group = self._groups[call.group]
        del group[call]
        self._rows[call.group] -= call.rows

        if not group:
            del self._groups[call.group], self._rows[call.group]

    def held_until(self) -> float:
        """When the first of the waiting calls may be taken, if no other comes.

        On anyio's clock, in seconds; infinity when none waits.
        """
        return min(map(self._held_until, self._calls), default=math.inf)

    def take(self, now: float) -> list[Call]:
        """The next batch: the first call not held back, and others that fit beside it.

        A call larger than `max_rows` is a batch of its own. Empty when none may run.
        """
        for head in self._calls:
            if self._held_until(head) <= now:
                break
        else:
            return []

        batch = [head] if head.group is None else self._fitting(head, head.group)

        for call in batch:
            self.discard(call)

        return batch

    def take_all(self) -> list[Call]:
        calls = list(self._calls)

        for call in calls:
            self.discard(call)

        return calls

    def _held_until(self, call: Call) -> float:
        plan = self._plans[call.signature]

        if call.group is None or not plan.max_delay_seconds:
            return -math.inf

        until = call.arrived + plan.max_delay_seconds
        # Neither a full batch waits, nor a call that would have no time left to run.
        full = self._rows[call.group] >= plan.max_rows
        return -math.inf if full or until >= call.deadline else until

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
    outputs: Mapping[str, Array], calls: Sequence[Call], plan: Batching
) -> list[Mapping[str, Array]]:
    """What each of `calls` gets of `outputs`; padding at the end is nobody's.

    Raises `ExecutionFailed` where an output hasn't a row for each that was run.
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
