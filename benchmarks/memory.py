"""Seconds and bytes that one large dense model costs, in three formats.

Every load is in a fresh process that has TensorFlow imported, with the model's files
in the page cache. Rounds go through all contenders in turn; seconds are the medians.
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

from benchmarks import loads, models, repeated
from benchmarks.children import child
from benchmarks.report import at_most, conclude, print_machine, print_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.loads import Load
    from benchmarks.memory_probe import Memory
    from benchmarks.report import Target

MB = 1e6
RUNTIME = "inference.runtime.servable"
KERAS, GRAPH, SAVED = "keras.models.load_model", "import_graph_def", "saved_model.load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to load; `module` is imported before the clock runs."""

    name: str
    path: Path
    module: str
    load: Callable[[Path], Load]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The memory of a process from before a load to after the unload."""

    before: Memory
    loaded: Memory
    closed: Memory
    mapped_after: Memory


@click.command()
@click.option(
    "--units",
    default=models.LARGE_UNITS,
    show_default=True,
    help="Width of the layer: 5000 make 100 MB.",
)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
def main(units: int, rounds: int) -> None:
    """Compare what it costs to load, hold and share one large model."""
    print_machine()

    with tempfile.TemporaryDirectory() as scratch:
        targets = _measure(Path(scratch), units, rounds)

    sys.exit(conclude(targets))


def _measure(scratch: Path, units: int, rounds: int) -> list[Target]:
    weights = units * (units + 1) * 4
    print(f"weights: {weights / MB:.1f} MB; {rounds} rounds")

    with child() as writer:
        files = writer.call(models.write_large_dense, scratch, units)

    artifacts = models.compile_models(files, scratch / "cache")
    return [
        *_seconds(files, artifacts, weights, rounds),
        *_held(artifacts, weights),
        *_shared(artifacts, weights),
        *repeated.measure(scratch),
    ]


def _seconds(
    files: dict[str, Path], artifacts: dict[str, Path], weights: int, rounds: int
) -> list[Target]:
    contenders = _contenders(files, artifacts)
    results: dict[str, list[Load]] = {each.name: [] for each in contenders}

    for _ in range(rounds):
        for each in contenders:
            results[each.name].append(_fresh(each))

    _check_answers(results)
    seconds = {
        name: statistics.median(load.seconds for load in results[name])
        for name in results
    }
    rows = [_row(name, results[name], seconds) for name in results]
    columns = ("load and first answer", "s", "lowest", "anonymous MB", "RSS MB")
    print_table("Loading, each in a fresh process", columns, rows)
    return _ratios(seconds, artifacts)


def _contenders(files: dict[str, Path], artifacts: dict[str, Path]) -> list[Contender]:
    ours = [
        Contender(
            name=f"artifact of {form}",
            path=folder,
            module=RUNTIME,
            load=loads.load_servable,
        )
        for form, folder in artifacts.items()
    ]
    keras, graph, saved = (
        Contender(name=name, path=files[form], module=module, load=load)
        for name, form, module, load in (
            (KERAS, ".h5", "keras", loads.load_keras),
            (GRAPH, ".pb", "tensorflow", loads.load_graph),
            (SAVED, "SavedModel", "tensorflow", loads.load_saved_model),
        )
    )
    return [*ours, keras, graph, saved]


def _fresh(contender: Contender) -> Load:
    with child() as process:
        process.call(loads.prepare, contender.module)
        process.call(loads.warm, contender.path)
        return process.call(contender.load, contender.path)


def _check_answers(results: dict[str, list[Load]]) -> None:
    answers = [load.answer for each in results.values() for load in each]

    for answer in answers:
        np.testing.assert_allclose(answer, answers[0], rtol=1e-4, atol=1e-5)


def _row(name: str, loaded: list[Load], seconds: dict[str, float]) -> tuple[str, ...]:
    anonymous = [load.after.anonymous - load.before.anonymous for load in loaded]
    resident = [load.after.resident - load.before.resident for load in loaded]
    return (
        name,
        f"{seconds[name]:.3f}",
        f"{min(load.seconds for load in loaded):.3f}",
        f"{statistics.median(anonymous) / MB:+.1f}",
        f"{statistics.median(resident) / MB:+.1f}",
    )


def _ratios(seconds: dict[str, float], artifacts: dict[str, Path]) -> list[Target]:
    targets = []

    for form in artifacts:
        ours = seconds[f"artifact of {form}"]
        targets += [
            at_most(0.5, f"{form}, load seconds over {KERAS}'s", ours / seconds[KERAS]),
            at_most(0.2, f"{form}, load seconds over {GRAPH}'s", ours / seconds[GRAPH]),
        ]

    return targets


def _held(artifacts: dict[str, Path], weights: int) -> list[Target]:
    rows, targets = [], []

    for form, folder in artifacts.items():
        served = _serve_and_close(folder)
        grown = served.loaded.anonymous - served.before.anonymous
        left = served.closed.anonymous - served.before.anonymous
        rows.append((form, *_levels(served), f"{grown / MB:+.1f}", f"{left / MB:+.1f}"))
        targets += [
            at_most(0.15, f"{form}, private memory of the weights", grown / weights),
            at_most(0.05, f"{form}, left after unload", abs(left) / weights),
            at_most(0.0, f"{form}, mapped after unload", served.mapped_after.resident),
        ]

    columns = ("anonymous MB", "before", "loaded", "unloaded", "grown", "left")
    print_table("Our runtime, first model of its process", columns, rows)
    return targets


def _serve_and_close(folder: Path) -> Served:
    with child() as process:
        process.call(loads.prepare, RUNTIME)
        load = process.call(loads.load_servable, folder)
        closed = process.call(loads.close_servable, folder)
        mapped = process.call(loads.mapped_weights, folder)
        return Served(
            before=load.before, loaded=load.after, closed=closed, mapped_after=mapped
        )


def _levels(served: Served) -> tuple[str, ...]:
    levels = (served.before, served.loaded, served.closed)
    return tuple(f"{level.anonymous / MB:.1f}" for level in levels)


def _shared(artifacts: dict[str, Path], weights: int) -> list[Target]:
    rows, targets = [], []

    for form, folder in artifacts.items():
        first, second = _two_processes(folder)
        total = first.proportional + second.proportional
        figures = (first.resident, second.resident, total)
        rows.append((form, *(f"{figure / MB:.1f}" for figure in figures)))
        targets.append(
            at_most(1.05, f"{form}, weights in two processes", total / weights)
        )

    columns = ("mapping of the weights, MB", "RSS, one", "RSS, other", "PSS, sum")
    print_table("Two processes that serve it at once", columns, rows)
    return targets


def _two_processes(folder: Path) -> tuple[Memory, Memory]:
    with child() as one, child() as other:
        for process in (one, other):
            process.call(loads.prepare, RUNTIME)
            process.call(loads.load_servable, folder)

        return (
            one.call(loads.mapped_weights, folder),
            other.call(loads.mapped_weights, folder),
        )


if __name__ == "__main__":
    main()
