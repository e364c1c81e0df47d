"""Time of a call of one `.h5` in Keras, in a traced function, and in our runtime.

Input is a NumPy array and so is the answer; the concrete function alone gets a tensor
made beforehand. Keras and our runtime live in a process each, with as many intra-op
threads as there are CPUs, and take turns: nine rounds of 0.5 s a turn. A time is the
median over the rounds of a turn's own median; a ratio is the median of the rounds'
ratios.
"""

from __future__ import annotations

import statistics
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import alternate, median_ratio, median_seconds
from benchmarks.harness.report import Report, Table, at_least
from benchmarks.harness.run import say
from inference import available_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.harness.children import Child
    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from inference.types import Array

    Sides = dict[str, tuple[Child, dict[str, Path]]]
    """By the way of calling: a process, and the model's path there, by title."""

PREDICT, CALL, TRACED = "model.predict", "model(x)", "traced function"
CONCRETE, OURS = "concrete function, tensor in", "Servable.run"
KERAS = (PREDICT, CALL, TRACED, CONCRETE)


class Case(NamedTuple):
    """A model and a number of rows; ours must be `target` times as fast as traced."""

    title: str
    write: Callable[[Path], None]
    rows: int
    target: float


DENSE, MOBILENET = "dense 32-64-64-1", "MobileNetV2 160×160"
CASES = (
    Case(DENSE, models.write_dense, 1, 2.0),
    Case(MOBILENET, models.write_mobilenet, 1, 1.0),
    Case(MOBILENET, models.write_mobilenet, 8, 1.0),
)


def measure(run: Run) -> Report:
    """Compare the time of a call of Keras, a traced function and our runtime."""
    rounds, seconds = (2, 0.1) if run.quick else (9, 0.5)
    files = _write(run.folder)
    artifacts = models.compile_models(files, run.folder / "cache")

    with child() as keras, child() as ours:
        sides: Sides = {**dict.fromkeys(KERAS, (keras, files)), OURS: (ours, artifacts)}
        found = [_compare(sides, case, rounds, seconds) for case in CASES]

    return Report(
        title="Calls",
        figures=[figure for figure, _ in found],
        tables=[table for _, table in found],
    )


def _write(folder: Path) -> dict[str, Path]:
    writers = {case.title: case.write for case in CASES}
    files = {title: folder / f"{at}.h5" for at, title in enumerate(writers)}

    with child() as process:
        for title, write in writers.items():
            process.call(write, files[title])

    return files


def _compare(
    sides: Sides, case: Case, rounds: int, seconds: float
) -> tuple[Figure, Table]:
    calls = {
        way: (process, (way, paths[case.title], case.rows))
        for way, (process, paths) in sides.items()
    }
    turns = alternate(
        {
            way: partial(process.call, time_call, *about, seconds)
            for way, (process, about) in calls.items()
        },
        rounds,
    )
    traced, ours = (
        process.call(answer, *about) for process, about in (calls[TRACED], calls[OURS])
    )
    name = f"{case.title}, batch {case.rows}"
    ratio = median_ratio(turns[TRACED], turns[OURS])
    say(f"{name}: {ratio:.2f} times traced")
    return at_least(case.target, f"{name}, speed of ours over traced", ratio), Table(
        title=f"{name} (answers differ by at most {np.abs(traced - ours).max():.1e})",
        columns=("contender", "µs a call", "lowest", "times traced"),
        rows=[_row(way, times, turns[TRACED]) for way, times in turns.items()],
    )


def _row(
    way: str, times: Sequence[float], traced: Sequence[float]
) -> tuple[str | float, ...]:
    low, middle = min(times) * 1e6, statistics.median(times) * 1e6
    return way, middle, low, median_ratio(traced, times)


def time_call(way: str, path: Path, rows: int, seconds: float) -> float:
    """Return the seconds of a warm call; to be called in a child process."""
    call = _call(way, path, rows)
    call()
    call()
    return median_seconds(call, seconds)


def answer(way: str, path: Path, rows: int) -> Array:
    """Return the answer of the call that is timed."""
    return _call(way, path, rows)()


def _call(way: str, path: Path, rows: int) -> Callable[[], Array]:
    if way == OURS:
        return models.servable_call(path, available_cpus(), rows)

    import tensorflow as tf

    model, traced = _keras(path)
    array = models.rows_for(model.inputs[0].shape[1:], rows)

    if way == CONCRETE:
        # For this way alone: the traced function would use it for its own rows, too.
        spec = tf.TensorSpec((None, *array.shape[1:]), tf.float32)
        concrete, tensor = traced.get_concrete_function(spec), tf.constant(array)
        return lambda: concrete(tensor).numpy()

    ways: dict[str, Callable[[], Array]] = {
        PREDICT: partial(model.predict, array, verbose=0),
        CALL: lambda: model(array).numpy(),
        TRACED: lambda: traced(array).numpy(),
    }
    return ways[way]


@cache
def _keras(path: Path) -> tuple[Any, Any]:
    """Return the model, and a function that is traced."""
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(available_cpus())
    model = keras.models.load_model(path, compile=False)
    return model, tf.function(model)
