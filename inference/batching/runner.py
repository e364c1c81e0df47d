"""Threads that run a model's batches."""

from __future__ import annotations

import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from inference.batching.queue import join, split
from inference.system.priority import lower_priority

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from inference.batching.call import Call
    from inference.limits import Batching
    from inference.runtime.servable import Servable
    from inference.types import Array

    Results = list[Mapping[str, Array]]


class Ran(NamedTuple):
    """A batch's results, and the `seconds` to join inputs, run and divide outputs."""

    results: Results
    seconds: tuple[float, float, float]


class Runner:
    """A thread that runs batches of one model, handed to it one after the other.

    `batch` is the one that it runs, since `started`, by `handed_at` on the loop's
    clock; `rest` are calls of a failed batch that are still to be run, each alone.
    """

    __slots__ = ("_handed", "_servable", "batch", "handed_at", "rest", "started")

    def __init__(self, servable: Servable) -> None:
        self.batch: list[Call] = []
        self.rest: list[Call] = []
        self.started = self.handed_at = 0.0
        self._servable = servable
        self._handed: SimpleQueue[tuple[list[Call], Batching] | None] = SimpleQueue()

    @property
    def unended(self) -> list[Call]:
        """The calls that are handed to it and have no outcome yet."""
        return [*self.batch, *self.rest]

    def hand(self, batch: list[Call], plan: Batching) -> None:
        """Let the thread run `batch` next."""
        self.batch = batch
        self._handed.put((batch, plan))

    def dismiss(self) -> None:
        """Let `work` end, once its present batch has run."""
        self._handed.put(None)

    def work(self, report: Callable[[Ran | Exception], None]) -> None:
        """Run batches until dismissed; to be called in the thread.

        Each batch's results, or the error, go to `report`.
        """
        # An idle model's next batch finds the thread waiting: to start it anew costs
        # more than to run a small model.
        while (handed := self._handed.get()) is not None:
            try:
                results: Ran | Exception = run_batch(self._servable, *handed)
            except Exception as exc:
                results = exc

            # Without references to the arrays of a batch that is over.
            del handed
            report(results)
            del results


def run_batch(servable: Servable, calls: Sequence[Call], plan: Batching) -> Ran:
    """Run all `calls`, which are of one group, at once; return each one's outputs.

    Blocks. Raises what `Servable.run` raises.
    """
    lower_priority()
    first = calls[0]
    alone = len(calls) == 1 and plan.padded(first.rows) == first.rows
    start = time.perf_counter()

    if first.group is None or alone:
        results: Results = [servable.run(first.signature, first.inputs, first.outputs)]
        return Ran(results, (0.0, time.perf_counter() - start, 0.0))

    inputs = join(calls, plan)
    joined = time.perf_counter()
    outputs = servable.run(first.signature, inputs, first.outputs)
    ran = time.perf_counter()
    results = split(outputs, calls, plan)
    divided = time.perf_counter() - ran
    return Ran(results, (joined - start, ran - joined, divided))
