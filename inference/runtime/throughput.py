"""Measurement of rows per second, by concurrent calls and threads per call."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import TYPE_CHECKING, TypeAlias

from inference.runtime.servable import Servable, Threads, sample_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from inference.artifacts.artifact import Artifact
    from inference.runtime.servable import Weights
    from inference.types import Sample, Signature

Pair: TypeAlias = tuple[int, int]
"""Calls at a time, and the threads that the operations of each may use."""

_TURN_SECONDS = 0.07
# Other processes may take the CPUs at any moment: a pair's best turn counts.
_TURNS = 3
_LARGE_PART = 1 / 8


class PairTrial:
    """A loaded model with the threads of `pair`, called on its sample.

    `seconds` is the duration of the last call that ran alone, `rate` the rows per
    second of the best turn.
    """

    def __init__(
        self, servable: Servable, signature: Signature, sample: Sample, pair: Pair
    ) -> None:
        self.pair = pair
        self.seconds = 0.0
        self.rate = 0.0
        self._servable = servable
        self._signature = signature
        self._sample = sample
        self._calls = pair[0]
        self._use(1)

    @property
    def turn_seconds(self) -> float:
        """The expected duration of a turn, if its calls share the CPUs."""
        return max(_TURN_SECONDS, self.seconds * self._calls)

    def prepare(self, rows: int) -> None:
        """Run one call with `rows` rows, and use as many from now on."""
        self._use(rows)
        started = time.perf_counter()
        self._call()
        self.seconds = time.perf_counter() - started

    def take_turn(self) -> None:
        """Run calls for a short while, in a thread for each concurrent one."""
        together = Barrier(self._calls)

        with ThreadPoolExecutor(self._calls) as pool:
            turns = [pool.submit(self._loop, together) for _ in range(self._calls)]
            self.rate = max(self.rate, sum(turn.result() for turn in turns))

    def _loop(self, together: Barrier) -> float:
        together.wait()
        started = time.perf_counter()
        rows = 0

        while True:
            self._call()
            rows += self._rows
            seconds = time.perf_counter() - started

            if seconds >= _TURN_SECONDS:
                return rows / seconds

    def _use(self, rows: int) -> None:
        several = rows if rows > 1 else None
        self._rows = rows
        self._inputs = sample_inputs(self._signature, self._sample, several)

    def _call(self) -> None:
        self._servable.run(self._signature.name, self._inputs)


def measure(
    artifact: Artifact,
    signature: Signature,
    pairs: Sequence[Pair],
    *,
    rows: int,
    seconds: float,
) -> dict[Pair, float]:
    """Measure each pair's rows per second; only the first ones' in too few `seconds`.

    A batchable signature is called with `rows` rows, unless that takes long. Empty
    without a sample. Raises `InferenceError` if the model fails on it.
    """
    if signature.sample is None:
        return {}

    ends = time.perf_counter() + seconds
    rows = rows if signature.batchable else 1
    trials: list[PairTrial] = []
    # Mapped once: several servables would count the weights several times.
    weights = _map(artifact)

    with ExitStack() as stack:
        for pair in pairs:
            if not _time_for(pair, trials, ends):
                break

            servable = stack.enter_context(_open(artifact, pair, seconds, weights))
            trial = PairTrial(servable, signature, signature.sample, pair)
            trial.prepare(1)

            # Rates of different rows can't be compared: the first decides for all.
            if not trials:
                rows = _rows_in_time(trial, rows, seconds * _LARGE_PART)

            trial.prepare(rows)
            trials.append(trial)

        _take_turns(trials, ends)

    return {trial.pair: trial.rate for trial in trials if trial.rate}


def _map(artifact: Artifact) -> Weights:
    return artifact.map_weights(artifact.read_manifest())


def _open(
    artifact: Artifact, pair: Pair, time_limit: float, weights: Weights
) -> Servable:
    calls, intra_op = pair
    threads = Threads(calls=calls, intra_op=intra_op)
    return Servable(artifact, threads=threads, time_limit=time_limit, weights=weights)


def _time_for(pair: Pair, trials: Sequence[PairTrial], ends: float) -> bool:
    """Return whether a call can end in time, alone and on fewer threads than before."""
    longest = max((trial.seconds for trial in trials), default=0.0)
    return time.perf_counter() + longest * pair[0] <= ends


def _rows_in_time(trial: PairTrial, rows: int, seconds: float) -> int:
    """Return `rows`, or 1 if a call with so many may take more than `seconds`."""
    if trial.seconds <= seconds:
        # The first call was slow, as it prepared the kernels.
        trial.prepare(1)

    return rows if trial.seconds * rows <= seconds else 1


def _take_turns(trials: Sequence[PairTrial], ends: float) -> None:
    for _ in range(_TURNS):
        for trial in trials:
            if time.perf_counter() + trial.turn_seconds <= ends:
                trial.take_turn()
