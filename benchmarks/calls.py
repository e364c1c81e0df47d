"""Time of a call of one `.h5` in Keras, in a traced function, and in our runtime."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import alternate, median_ratio, median_seconds
from benchmarks.harness.report import Report, Table, at_least
from benchmarks.harness.run import say
from inference import available_cpus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.harness.children import Child
    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from inference.types import Array

TRACED, OURS = "traced function", "Servable.run"
KERAS = ("model.predict", "model(x)", TRACED, "concrete function, tensor in")
INTRODUCTION = """\
Microseconds a call of one `.h5`. Input is a NumPy array and so is the answer; the
concrete function alone gets a tensor made beforehand. Keras and our runtime live in a
process each, with {threads} intra-op threads on either side, and take turns: {rounds}
rounds of {seconds:g} s a turn. A time is the median over the rounds of a turn's own
median; a ratio is the median of the rounds' ratios."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A model and a number of rows; ours must be `target` times as fast as traced."""

    title: str
    write: Callable[[Path], None]
    rows: int
    target: float

    @property
    def name(self) -> str:
        return f"{self.title}, batch {self.rows}"


DENSE, MOBILENET = "dense 32-64-64-1", "MobileNetV2 160×160"
CASES = (
    Case(title=DENSE, write=models.write_dense, rows=1, target=2.0),
    Case(title=MOBILENET, write=models.write_mobilenet, rows=1, target=1.0),
    Case(title=MOBILENET, write=models.write_mobilenet, rows=8, target=1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The two processes, and the path of each one's form of every model."""

    keras: Child
    ours: Child
    files: dict[str, Path]
    artifacts: dict[str, Path]
    threads: int

    def turn(self, contender: str, case: Case, seconds: float) -> float:
        """Return one contender's seconds a call, measured over `seconds`."""
        if contender == OURS:
            return self.ours.call(time_ours, *self._ours(case), seconds)

        return self.keras.call(time_keras, contender, *self._keras(case), seconds)

    def difference(self, case: Case) -> float:
        """Return the largest difference between the two sides' answers."""
        theirs = self.keras.call(answer_traced, *self._keras(case))
        ours = self.ours.call(answer_ours, *self._ours(case))
        return float(np.max(np.abs(theirs - ours)))

    def _keras(self, case: Case) -> tuple[Path, int, int]:
        return self.files[case.title], self.threads, case.rows

    def _ours(self, case: Case) -> tuple[Path, int, int]:
        return self.artifacts[case.title], self.threads, case.rows


def measure(run: Run) -> Report:
    """Compare the time of a call of Keras, a traced function and our runtime."""
    rounds, seconds = (2, 0.1) if run.quick else (9, 0.5)
    threads = available_cpus()
    files = _write(run.folder)
    artifacts = models.compile_models(files, run.folder / "cache")

    with child() as keras, child() as ours:
        sides = Sides(
            keras=keras, ours=ours, files=files, artifacts=artifacts, threads=threads
        )
        found = [_case(sides, case, rounds, seconds) for case in CASES]

    return Report(
        title="Calls",
        introduction=INTRODUCTION.format(
            threads=threads, rounds=rounds, seconds=seconds
        ),
        figures=[figure for figure, _ in found],
        tables=[table for _, table in found],
    )


def _write(folder: Path) -> dict[str, Path]:
    writers = {case.title: case.write for case in CASES}
    files = {}

    with child() as writer:
        for position, (title, write) in enumerate(writers.items()):
            files[title] = folder / f"model-{position}.h5"
            writer.call(write, files[title])

    return files


def _case(
    sides: Sides, case: Case, rounds: int, seconds: float
) -> tuple[Figure, Table]:
    difference = sides.difference(case)
    turns = alternate(
        {name: partial(sides.turn, name, case, seconds) for name in (*KERAS, OURS)},
        rounds,
    )
    table = Table(
        title=f"{case.name} (answers differ by at most {difference:.1e})",
        columns=("contender", "µs a call", "lowest", "µs a row", "times traced"),
        rows=[
            (name, *_cells(times, turns[TRACED], case.rows))
            for name, times in turns.items()
        ],
    )
    ratio = median_ratio(turns[TRACED], turns[OURS])
    say(f"{case.name}: {ratio:.2f} times traced")
    name = f"{case.name}, speed of ours over traced"
    return at_least(case.target, name, ratio), table


def _cells(times: list[float], traced: list[float], rows: int) -> tuple[str, ...]:
    middle = statistics.median(times) * 1e6
    return (
        f"{middle:,.0f}",
        f"{min(times) * 1e6:,.0f}",
        f"{middle / rows:,.0f}",
        f"{median_ratio(traced, times):.2f}",
    )


def time_keras(
    contender: str, path: Path, threads: int, rows: int, seconds: float
) -> float:
    """Time one way of Keras; to be called in a child process."""
    return _warm_seconds(_keras_call(contender, path, threads, rows), seconds)


def time_ours(folder: Path, threads: int, rows: int, seconds: float) -> float:
    """Time our runtime over the artifact in `folder`."""
    return _warm_seconds(models.servable_call(folder, threads, rows), seconds)


def answer_traced(path: Path, threads: int, rows: int) -> Array:
    """Ask the traced function with the rows that are timed."""
    array = _keras_rows(_keras_model(path, threads), rows)
    answer: Array = _traced(path, threads)(array).numpy()
    return answer


def answer_ours(folder: Path, threads: int, rows: int) -> Array:
    """Ask our runtime with the same."""
    return models.servable_call(folder, threads, rows)()


def _keras_call(
    contender: str, path: Path, threads: int, rows: int
) -> Callable[[], object]:
    import tensorflow as tf

    model, traced = _keras_model(path, threads), _traced(path, threads)
    array = _keras_rows(model, rows)

    if contender == "model.predict":
        return partial(model.predict, array, verbose=0)

    if contender == "model(x)":
        return lambda: model(array).numpy()

    if contender == TRACED:
        return lambda: traced(array).numpy()

    spec = tf.TensorSpec((None, *array.shape[1:]), tf.float32)
    concrete, tensor = traced.get_concrete_function(spec), tf.constant(array)
    return lambda: concrete(tensor).numpy()


def _warm_seconds(call: Callable[[], object], seconds: float) -> float:
    call()
    call()
    return median_seconds(call, seconds)


@cache
def _keras_model(path: Path, threads: int) -> Any:
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    return keras.models.load_model(path, compile=False)


@cache
def _traced(path: Path, threads: int) -> Any:
    import tensorflow as tf

    return tf.function(_keras_model(path, threads))


def _keras_rows(model: Any, rows: int) -> Array:
    return models.rows_for(model.inputs[0].shape[1:], rows)
