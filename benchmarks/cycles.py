"""What hundreds of loads and unloads of one model leave behind in a process.

A process loads a model, asks it, compares the answers, unloads it, and begins anew.
Its memory, threads and open files are read after each unload. The same is done with
leaks made on purpose, which must be seen.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks import wide
from benchmarks.children import child
from benchmarks.cycling import LEAKS, Plan, cycle, slope
from benchmarks.page import Page
from benchmarks.report import at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.cycling import Sample
    from benchmarks.report import Target

MODEL, SEED = "wide", 1
HONEST = "nothing"
SLOPE_KIB = 4.0
LEAK_KIB = 10 * SLOPE_KIB
WARM_SHARE = 1 / 3
"""Of the cycles, that don't count: caches and the C library's heap fill at first."""
COLUMNS = (
    "kept on purpose",
    "cycles",
    "KiB a cycle",
    "RSS MiB, warm",
    "last",
    "threads, warm",
    "last",
    "files, warm",
    "last",
)
PATH = click.Path(path_type=Path, file_okay=False)
INTRODUCTION = """\
Written by `python -m benchmarks.cycles`. A process loads a `.pb` of {size:.0f} MB
through the engine, asks it, compares the answers and unloads it, again and again;
memory, threads and open files are read after each unload. `KiB a cycle` is the slope of
the line of least squares through the resident memory, without the first third of the
cycles. The other rows are leaks made on purpose, to show that one would be seen."""


@click.command()
@click.option("--cycles", default=300, show_default=True, type=click.IntRange(6))
@click.option("--leaking-cycles", default=60, show_default=True)
@click.option("--units", default=1000, show_default=True, help="1000 make 4 MB.")
@click.option("--quick", is_flag=True, help="60 cycles, 30 of the leaking ones.")
@click.option("--output", type=PATH, help="Write cycles.md into this folder.")
def main(
    cycles: int, leaking_cycles: int, units: int, quick: bool, output: Path | None
) -> None:
    """Load and unload one model many times, and look what is left."""
    if quick:
        cycles, leaking_cycles = 60, 30

    size = wide.weights_bytes(units) / 1e6
    page = Page("Memory over many loads", INTRODUCTION.format(size=size))
    counts = {leak: cycles if leak == HONEST else leaking_cycles for leak in LEAKS}

    with tempfile.TemporaryDirectory() as scratch:
        found = measure(Path(scratch), units, counts)

    page.table("After each unload", COLUMNS, [row(*each) for each in found.items()])
    path = output / "cycles.md" if output else None
    sys.exit(page.conclude(targets(found), path))


def measure(
    folder: Path, units: int, counts: dict[str, int]
) -> dict[str, list[Sample]]:
    """The samples of so many cycles by what is leaked, each in a fresh process."""
    repository = folder / "models"
    repository.mkdir()

    with child() as writer:
        path = repository / f"{MODEL}.pb"
        writer.call(wide.write_graph, path, units, SEED)

    found = {}

    for leak, cycles in counts.items():
        plan = Plan(
            repository=repository,
            cache=folder / "cache",
            model=MODEL,
            units=units,
            seed=SEED,
            cycles=cycles,
            leak=leak,
        )

        with child() as process:
            found[leak] = process.call(cycle, plan)

        print(f"{leak}: {kib_a_cycle(found[leak]):+.2f} KiB a cycle", flush=True)

    return found


def kib_a_cycle(samples: Sequence[Sample]) -> float:
    return slope([each.resident for each in warm(samples)])


def warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[round(len(samples) * WARM_SHARE) :]


def row(leak: str, samples: Sequence[Sample]) -> tuple[str, ...]:
    first, last = warm(samples)[0], samples[-1]
    return (
        leak,
        f"{len(samples)}",
        f"{kib_a_cycle(samples):+.2f}",
        f"{first.resident / 1024:.1f}",
        f"{last.resident / 1024:.1f}",
        *(f"{each.threads}" for each in (first, last)),
        *(f"{each.files}" for each in (first, last)),
    )


def targets(found: dict[str, list[Sample]]) -> list[Target]:
    """What isn't leaked is flat, and what is leaked is seen."""
    honest = warm(found[HONEST])
    leaks = {leak: kib_a_cycle(each) for leak, each in found.items() if leak != HONEST}
    return [
        at_most(SLOPE_KIB, "growth, KiB a cycle", kib_a_cycle(found[HONEST])),
        at_most(0, "more threads at the end", _more([one.threads for one in honest])),
        at_most(0, "more open files at the end", _more([one.files for one in honest])),
        *(
            at_least(LEAK_KIB, f"growth where {leak} is kept, KiB a cycle", growth)
            for leak, growth in leaks.items()
        ),
    ]


def _more(figures: Sequence[int]) -> float:
    """The last third over the first: single ones may come and go."""
    third = max(1, len(figures) // 3)
    return statistics.median(figures[-third:]) - statistics.median(figures[:third])


if __name__ == "__main__":
    main()
