"""Measuring of pairs, on a model with a simulated clock."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pytest

from inference.artifacts.artifact import Artifact, signatures_of
from inference.errors import InputMismatch
from inference.runtime import throughput
from inference.runtime.throughput import measure
from inference.types import Sample, Signature, TensorSpec
from tests.support.graphs import compile_graph, rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from inference.runtime.servable import Threads
    from inference.types import Array

X = TensorSpec(name="x", tensor="x:0", dtype="float32", shape=(None, 4))
BATCHABLE = Signature(
    name="run",
    inputs={"x": X},
    outputs={},
    batchable=True,
    sample=Sample(shapes={"x": (1, 4)}),
)
SINGLE = replace(BATCHABLE, batchable=False)
UNKNOWN = replace(BATCHABLE, batchable=False, sample=None)
NOWHERE = Artifact(Path("nowhere"))
WEIGHTS: Mapping[str, Array] = {}
"""Mapped once for all pairs."""
PAIRS = [(1, 4), (4, 1), (2, 2)]


@dataclass
class Model:
    """A fake of `Servable` and the clock: a call takes `seconds` for each row.

    `costly` are pairs whose calls take twice that. `calls` has the pair and the rows of
    every call, `most` how many ran at a time by pair.
    """

    seconds: float
    costly: tuple[tuple[int, int], ...] = ()
    now: float = 100.0
    calls: list[tuple[tuple[int, int], int]] = field(default_factory=list)
    opened: list[tuple[int, int]] = field(default_factory=list)
    closed: list[tuple[int, int]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def open(
        self,
        _: Artifact,
        *,
        threads: Threads,
        time_limit: float,
        weights: Mapping[str, Array],
    ) -> Loaded:
        assert weights is WEIGHTS
        pair = (threads.calls, threads.intra_op)
        self.opened.append(pair)
        self.limits.append(time_limit)
        return Loaded(self, pair)

    def run(self, pair: tuple[int, int], rows: int) -> None:
        with self.lock:
            self.calls.append((pair, rows))
            self.now += self.seconds * rows * (1 + (pair in self.costly))

    def perf_counter(self) -> float:
        return self.now


@dataclass
class Loaded:
    model: Model
    pair: tuple[int, int]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.model.closed.append(self.pair)

    def run(self, signature: str, inputs: Mapping[str, Array]) -> None:
        assert signature == "run"
        self.model.run(self.pair, len(inputs["x"]))


def install(monkeypatch: pytest.MonkeyPatch, model: Model) -> Model:
    monkeypatch.setattr(throughput, "Servable", model.open)
    monkeypatch.setattr(throughput, "_map", lambda artifact: WEIGHTS)
    monkeypatch.setattr(throughput, "time", model)
    return model


def test_every_pair_is_measured_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    model = install(monkeypatch, Model(0.001))
    measured = measure(NOWHERE, BATCHABLE, PAIRS, rows=8, seconds=2.0)

    assert list(measured) == PAIRS
    assert model.opened == PAIRS
    assert sorted(model.closed) == sorted(PAIRS)
    assert model.limits == [2.0] * 3
    # The calls of a second model-wide clock share it: one call at a time is exact.
    assert measured[1, 4] == pytest.approx(1000.0)


def test_a_pair_that_costs_more_has_a_lower_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, Model(0.001, costly=((1, 2),)))
    measured = measure(NOWHERE, BATCHABLE, [(1, 4), (1, 2)], rows=8, seconds=2.0)

    assert measured[1, 2] == pytest.approx(measured[1, 4] / 2)


@pytest.mark.parametrize(
    ("signature", "seconds", "expected"),
    [
        pytest.param(BATCHABLE, 0.001, 8, id="joined"),
        pytest.param(SINGLE, 0.001, 1, id="never joined"),
        pytest.param(BATCHABLE, 0.03, 8, id="just in time"),
        pytest.param(BATCHABLE, 0.04, 1, id="too long for joined rows"),
    ],
)
def test_the_rows_of_a_call(
    monkeypatch: pytest.MonkeyPatch, signature: Signature, seconds: float, expected: int
) -> None:
    model = install(monkeypatch, Model(seconds))
    measure(NOWHERE, signature, [(1, 2)], rows=8, seconds=2.0)

    assert model.calls[-1] == ((1, 2), expected)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param(0.001, [(1, 4), (4, 1), (2, 2)], id="quick"),
        pytest.param(0.2, [(1, 4)], id="no time for four at once"),
        pytest.param(3.0, [], id="no time for a turn"),
    ],
)
def test_measuring_ends_in_time(
    monkeypatch: pytest.MonkeyPatch, seconds: float, expected: list[tuple[int, int]]
) -> None:
    model = install(monkeypatch, Model(seconds))
    measured = measure(NOWHERE, SINGLE, PAIRS, rows=8, seconds=2.0)

    assert list(measured) == expected
    assert model.now - 100.0 <= max(2.0, 2 * seconds) + 1e-6
    assert sorted(model.closed) == sorted(model.opened)


def test_pair_runs_its_concurrent_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call waits for the others of its pair: fewer would wait forever."""
    model = install(monkeypatch, Model(0.001))
    together = {1: threading.Barrier(1), 3: threading.Barrier(3, timeout=60.0)}
    turning = False

    def run(self: Loaded, signature: str, inputs: Mapping[str, Array]) -> None:
        self.model.now += 1.0

        if turning:
            together[self.pair[0]].wait()

    def turns(trials: list[Any], ends: float) -> None:
        nonlocal turning
        turning = True

        for trial in trials:
            trial.take_turn()

    monkeypatch.setattr(Loaded, "run", run)
    monkeypatch.setattr(throughput, "_take_turns", turns)

    assert len(measure(NOWHERE, SINGLE, [(1, 3), (3, 1)], rows=8, seconds=99.0)) == 2
    assert model.closed


def test_nothing_is_measured_without_a_sample() -> None:
    assert measure(NOWHERE, UNKNOWN, PAIRS, rows=8, seconds=2.0) == {}


def test_a_real_model(tmp_path: Path) -> None:
    artifact = compile_graph(tmp_path, lambda: rows("x", 4) * np.float32(2.0))
    signature = signatures_of(artifact.read_manifest())["serving_default"]
    measured = measure(artifact, signature, [(1, 2), (2, 1)], rows=8, seconds=30.0)

    assert list(measured) == [(1, 2), (2, 1)]
    assert min(measured.values()) > 0


def test_a_model_that_fails_on_its_sample(tmp_path: Path) -> None:
    artifact = compile_graph(tmp_path, lambda: rows("x", 4) @ np.ones((4, 2), "f4"))
    signature = signatures_of(artifact.read_manifest())["serving_default"]
    wrong = replace(signature, sample=Sample(shapes={"x": (1, 5)}))

    with pytest.raises(InputMismatch):
        measure(artifact, wrong, [(1, 2), (2, 1)], rows=8, seconds=30.0)
