"""How long answers of one model take while a large one is compiled, loaded, replaced.

Requests to a small dense `.h5` are due at fixed instants, whatever becomes of them, and
latency counts from then. Meanwhile a file of 100 MB appears in the same server's
repository, and then newer versions of it, one after the other.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from benchmarks import wide
from benchmarks.load.generator import generating
from benchmarks.load.recording import OK, RESET, percentile
from benchmarks.page import Page
from benchmarks.reload_rounds import DURING, REST, SCAN_SECONDS, measure, prepare
from benchmarks.report import at_most
from benchmarks.stages import COMPILE, LOAD, UNLOAD

if TYPE_CHECKING:
    from benchmarks.reload_rounds import Measured
    from benchmarks.report import Target

RATIO = 1.5
COLUMNS = ("when", "s, median", "requests", "p50 ms", "p99", "most", "p99 / at rest")
PATH = click.Path(path_type=Path, file_okay=False)
INTRODUCTION = """\
Written by `python -m benchmarks.reload`. A small dense `.h5` is asked {rate:g} times a
second, at fixed instants from which latency counts; meanwhile an `.h5` of {size:.0f} MB
appears in the same server's repository, and newer versions of it after that. The server
has its defaults but for `--scan-seconds {scan}`. Its compiler runs on the server's
CPUs, at lower priority. `load` lasts until the new version answers, `unload` until the
one before is gone."""


@click.command()
@click.option("--rounds", default=4, show_default=True, type=click.IntRange(1))
@click.option("--rate", default=100.0, show_default=True, help="Requests a second.")
@click.option("--units", default=5000, show_default=True, help="5000 make 100 MB.")
@click.option("--rest-seconds", default=10.0, show_default=True, help="Each round's.")
@click.option("--quick", is_flag=True, help="One round, little rest, 4 MB.")
@click.option("--server-cpu", default=0, show_default=True)
@click.option("--client-cpu", default=1, show_default=True)
@click.option("--output", type=PATH, help="Write reload.md into this folder.")
def main(
    rounds: int,
    rate: float,
    units: int,
    rest_seconds: float,
    quick: bool,
    server_cpu: int,
    client_cpu: int,
    output: Path | None,
) -> None:
    """Measure a model's tail latencies while another one is reloaded."""
    if quick:
        rounds, units, rest_seconds = 1, 1000, 2.0

    size = wide.weights_bytes(units) / 1e6
    introduction = INTRODUCTION.format(rate=rate, size=size, scan=SCAN_SECONDS)
    page = Page("While a model is reloaded", introduction)
    ways = {
        "server on one CPU, client on another": [server_cpu],
        "server on both CPUs, client on one of them": [server_cpu, client_cpu],
    }

    with tempfile.TemporaryDirectory() as scratch, generating([client_cpu]) as sending:
        bench = prepare(Path(scratch), units, rounds, rate, rest_seconds)
        found = [measure(bench, sending, name, cpus) for name, cpus in ways.items()]

    for each in found:
        page.table(each.name.capitalize(), COLUMNS, table(each))

    path = output / "reload.md" if output else None
    sys.exit(page.conclude([one for each in found for one in targets(each)], path))


def table(measured: Measured) -> list[tuple[str, ...]]:
    """A row per stage. The time at rest isn't that of a stage."""
    rest = _p99(measured, REST)
    return [
        (
            name,
            f"{statistics.median(seconds):.2f}" if seconds else "–",
            f"{len(latencies):,}",
            f"{percentile(latencies, 50) or np.nan:.2f}",
            f"{percentile(latencies, 99) or np.nan:.2f}",
            f"{percentile(latencies, 100) or np.nan:.2f}",
            f"{_p99(measured, name) / rest:.2f}",
        )
        for name in (REST, DURING, COMPILE, LOAD, UNLOAD)
        for latencies in [measured.latencies(name)]
        for seconds in [measured.seconds(name)]
    ]


def targets(measured: Measured) -> list[Target]:
    statuses = np.concatenate([each.statuses for each in measured.recordings])
    odd = statuses[~np.isin(statuses, (OK, RESET))]
    ratio = _p99(measured, DURING) / _p99(measured, REST)
    wrong = sum(each.wrong for each in measured.recordings)
    return [
        at_most(RATIO, f"{measured.name}: p99 during a reload over at rest", ratio),
        at_most(0, f"{measured.name}: connections reset", (statuses == RESET).sum()),
        at_most(0, f"{measured.name}: not answered 200{_counted(odd)}", odd.size),
        at_most(0, f"{measured.name}: answers with a wrong value", wrong),
    ]


def _counted(statuses: np.ndarray[Any, Any]) -> str:
    """`(3 × 503)`, or nothing."""
    values, counts = np.unique(statuses, return_counts=True)
    pairs = zip(counts.tolist(), values.tolist(), strict=True)
    texts = [f"{count} × {value}" for count, value in pairs]
    return f" ({', '.join(texts)})" if texts else ""


def _p99(measured: Measured, name: str) -> float:
    return percentile(measured.latencies(name), 99) or np.nan


if __name__ == "__main__":
    main()
