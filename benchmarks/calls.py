"""Microseconds a call, of one `.h5` in Keras, in a traced function, and in ours.

Keras and our runtime live in a process each and take turns: round by round, every
contender is timed for a while, and no two at once. A figure is the median over the
rounds of each turn's median; a ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from benchmarks import contenders, models
from benchmarks.children import child
from benchmarks.report import at_least, conclude, print_machine, print_table
from inference import available_cpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.children import Child
    from benchmarks.report import Target

TRACED, OURS = "traced function", "Servable.run"
KERAS: dict[str, Callable[[Path, int, float, int], float]] = {
    "model.predict": contenders.time_predict,
    "model(x)": contenders.time_model,
    TRACED: contenders.time_traced,
    "concrete function, tensor in": contenders.time_concrete,
}


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
    Case(title=DENSE, write=models.write_small_dense, rows=1, target=2.0),
    Case(title=MOBILENET, write=models.write_mobilenet, rows=1, target=1.0),
    Case(title=MOBILENET, write=models.write_mobilenet, rows=8, target=1.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The two processes, and where each finds its form of every model."""

    keras: Child
    ours: Child
    files: dict[str, Path]
    artifacts: dict[str, Path]
    threads: int

    def turn(self, contender: str, case: Case, seconds: float) -> float:
        """One contender's seconds a call, measured over `seconds`."""
        if contender == OURS:
            folder = self.artifacts[case.title]
            return self.ours.call(
                contenders.time_servable, folder, case.rows, seconds, self.threads
            )

        path = self.files[case.title]
        timed = KERAS[contender]
        return self.keras.call(timed, path, case.rows, seconds, self.threads)

    def difference(self, case: Case) -> float:
        """The largest difference between the two sides' answers."""
        path, folder = self.files[case.title], self.artifacts[case.title]
        theirs = self.keras.call(
            contenders.answer_traced, path, case.rows, self.threads
        )
        ours = self.ours.call(
            contenders.answer_servable, folder, case.rows, self.threads
        )
        return float(np.max(np.abs(theirs - ours)))


@click.command()
@click.option("--rounds", default=9, show_default=True, type=click.IntRange(1))
@click.option(
    "--seconds", default=0.5, show_default=True, help="How long each turn takes."
)
def main(rounds: int, seconds: float) -> None:
    """Compare the seconds a call of Keras, a traced function and our runtime."""
    print_machine()

    with tempfile.TemporaryDirectory() as scratch:
        targets = _compare(Path(scratch), rounds, seconds)

    sys.exit(conclude(targets))


def _compare(scratch: Path, rounds: int, seconds: float) -> list[Target]:
    threads = available_cpus()
    print(
        f"intra-op threads on either side: {threads}; {rounds} rounds, "
        f"{seconds:g} s a turn"
    )
    files = _write(scratch)
    artifacts = models.compile_models(files, scratch / "cache")

    with child() as keras, child() as ours:
        sides = Sides(
            keras=keras, ours=ours, files=files, artifacts=artifacts, threads=threads
        )
        return [_case(sides, case, rounds, seconds) for case in CASES]


def _write(scratch: Path) -> dict[str, Path]:
    writers = {case.title: case.write for case in CASES}
    files = {}

    with child() as writer:
        for position, (title, write) in enumerate(writers.items()):
            files[title] = scratch / f"model-{position}.h5"
            writer.call(write, files[title])

    return files


def _case(sides: Sides, case: Case, rounds: int, seconds: float) -> Target:
    difference = sides.difference(case)
    turns = {name: [0.0] * rounds for name in (*KERAS, OURS)}

    for position in range(rounds):
        for name, figures in turns.items():
            figures[position] = sides.turn(name, case, seconds)

    rows = [
        (name, *_cells(figures, turns[TRACED], case.rows))
        for name, figures in turns.items()
    ]
    columns = ("contender", "µs a call", "lowest", "µs a row", "times traced")
    print_table(
        f"{case.name} (answers differ by at most {difference:.1e})", columns, rows
    )
    ratio = _ratio(turns[TRACED], turns[OURS])
    return at_least(case.target, f"{case.name}, speed of ours over traced", ratio)


def _cells(figures: list[float], traced: list[float], rows: int) -> tuple[str, ...]:
    middle = statistics.median(figures) * 1e6
    return (
        f"{middle:,.0f}",
        f"{min(figures) * 1e6:,.0f}",
        f"{middle / rows:,.0f}",
        f"{_ratio(traced, figures):.2f}",
    )


def _ratio(traced: list[float], figures: list[float]) -> float:
    pairs = zip(traced, figures, strict=True)
    return statistics.median(one / other for one, other in pairs)


if __name__ == "__main__":
    main()
