"""Ten models, memory for three: what the server's process grows by, under load.

All models are asked at once, in a random order, and each answer is compared. The memory
of the process is read every 10 ms, from before the models are there.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks import models, wide
from benchmarks.children import child
from benchmarks.client import run_requests
from benchmarks.load.process import HOST, free_ports, server_process
from benchmarks.page import Page
from benchmarks.report import at_least, at_most
from benchmarks.resident import Sampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.client import Exchange, Tally
    from benchmarks.report import Target

MIB = 1024**2
TINY = "tiny"
MODELS, ROOM = 10, 3
SLACK = 1.4
"""A model costs more than its weights: its graph, its threads, and 4 MiB of heaps."""
FIRST_REQUESTS = 200
PATIENCE_SECONDS = 600.0
_POLL_SECONDS = 0.2
PATH = click.Path(path_type=Path, file_okay=False)
INTRODUCTION = """\
Written by `python -m benchmarks.budget`. {models} models of {size:.0f} MB of weights in
one server, whose `--memory-budget` has room for {room}. All are asked in a random order
over {connections} connections, and each answer is compared. The resident memory of the
server's process is read every 10 ms, beginning when TensorFlow is imported, a tiny
model has answered, and none of the others is there. Growth is over that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Bytes of `budget` and `growth`; in `longest` seconds no sample was taken."""

    budget: int
    growth: int
    samples: int
    longest: float
    seconds: float
    tally: Tally
    counts: dict[str, float]


@click.command()
@click.option("--requests", default=2000, show_default=True, type=click.IntRange(1))
@click.option("--connections", default=8, show_default=True, type=click.IntRange(1))
@click.option("--units", default=2236, show_default=True, help="2236 make 20 MB.")
@click.option("--quick", is_flag=True, help="300 requests.")
@click.option("--output", type=PATH, help="Write budget.md into this folder.")
def main(
    requests: int, connections: int, units: int, quick: bool, output: Path | None
) -> None:
    """Measure whether models keep to their memory budget."""
    size = wide.weights_bytes(units) / 1e6
    introduction = INTRODUCTION.format(
        models=MODELS, room=ROOM, size=size, connections=connections
    )
    page = Page("A budget of memory", introduction)

    with tempfile.TemporaryDirectory() as scratch:
        requests = 300 if quick else requests
        found = measure(Path(scratch), units, requests, connections)

    page.table("Under load", ("figure", "value"), rows(found))
    path = output / "budget.md" if output else None
    sys.exit(page.conclude(targets(found), path))


def measure(folder: Path, units: int, requests: int, connections: int) -> Measured:
    """Serve the models below `folder`, and ask them all."""
    repository, staged = folder / "models", folder / "staged"
    names = [f"wide{number}" for number in range(MODELS)]
    exchanges = _write(repository, staged, names, units)
    budget = int(ROOM * SLACK * wide.weights_bytes(units))
    [port] = free_ports(1)
    command = [sys.executable, "-m", "service.cli.main", "serve", str(repository)]
    command += ["--host", HOST, "--port", str(port)]
    command += ["--cache-dir", str(folder / "cache"), "--scan-seconds", "1"]
    command += ["--memory-budget", str(budget), "--log-level", "warning"]

    cpus = sorted(os.sched_getaffinity(0))

    with server_process(command, cpus, folder / "log") as process:
        process.wait_ready(port, exchanges[TINY][0].request)
        _ask(port, exchanges[TINY], FIRST_REQUESTS, connections)

        with Sampler(process.running.pid) as sampler:
            for name in names:
                (staged / f"{name}.pb").rename(repository / f"{name}.pb")

            _wait_for(port, names)
            started = time.perf_counter()
            tally = _ask(port, _shuffled(exchanges, requests), requests, connections)
            seconds = time.perf_counter() - started

        return Measured(
            budget=budget,
            growth=rise(sampler),
            samples=len(sampler.samples),
            longest=sampler.longest,
            seconds=seconds,
            tally=tally,
            counts=_counts(port),
        )


def rise(sampler: Sampler) -> int:
    """By how many bytes the process was larger, at most, than at the first sample."""
    return max(sampler.samples) - sampler.samples[0]


def rows(found: Measured) -> list[tuple[str, str]]:
    tally = found.tally
    cuts = sorted(tally.seconds)
    return [
        ("budget, MiB", f"{found.budget / MIB:.1f}"),
        ("largest growth, MiB", f"{found.growth / MIB:.1f}"),
        ("samples", f"{found.samples:,}"),
        ("longest time between two, ms", f"{found.longest * 1e3:.0f}"),
        *((f"status {code}", f"{n:,}") for code, n in sorted(tally.statuses.items())),
        ("wrong answers", f"{tally.wrong:,}"),
        ("requests a second", f"{len(cuts) / found.seconds:,.0f}"),
        ("p50, ms", f"{cuts[len(cuts) // 2] * 1e3:,.0f}"),
        ("p99, ms", f"{cuts[len(cuts) * 99 // 100] * 1e3:,.0f}"),
        *((name, f"{value:,.0f}") for name, value in found.counts.items()),
    ]


def targets(found: Measured) -> list[Target]:
    tally = found.tally
    return [
        at_most(1.0, "largest growth over the budget", found.growth / found.budget),
        at_most(0, "requests not answered 200", tally.failed + tally.resets),
        at_most(0, "answers with a wrong value", tally.wrong),
        at_least(MODELS, "models unloaded to make room", found.counts["evictions"]),
    ]


def _write(
    repository: Path, staged: Path, names: Sequence[str], units: int
) -> dict[str, list[Exchange]]:
    """The tiny model into `repository`, the others into `staged`; requests by name."""
    found = {TINY: wide.exchanges(TINY, 1, 0)}

    for folder in (repository, staged):
        folder.mkdir()

    with child() as writer:
        writer.call(wide.write_graph, repository / f"{TINY}.pb", 1, 0)

        for seed, name in enumerate(names, 1):
            writer.call(wide.write_graph, staged / f"{name}.pb", units, seed)
            found[name] = wide.exchanges(name, units, seed)

    return found


def _shuffled(exchanges: dict[str, list[Exchange]], count: int) -> list[Exchange]:
    """As likely for each model but the tiny one."""
    chooser = random.Random(models.SEED)
    every = [one for name, each in exchanges.items() if name != TINY for one in each]
    return chooser.choices(every, k=count)


def _ask(
    port: int, exchanges: Sequence[Exchange], requests: int, connections: int
) -> Tally:
    sending = run_requests(
        (HOST, port), exchanges, requests=requests, connections=connections
    )
    return asyncio.run(sending)


def _wait_for(port: int, names: Sequence[str]) -> None:
    """Until all are compiled. Raises `TimeoutError`."""
    end = time.monotonic() + PATIENCE_SECONDS

    while time.monotonic() < end:
        found = httpx.get(f"http://{HOST}:{port}/v1/models").json()["models"]
        states = {
            model["name"]: version["state"]
            for model in found
            for version in model["versions"]
        }

        if all(states.get(name) == "AVAILABLE" for name in names):
            return

        time.sleep(_POLL_SECONDS)

    raise TimeoutError(f"The models didn't become available: {states}")


def _counts(port: int) -> dict[str, float]:
    """Loads, evictions and reloads, by the server's metrics."""
    text = httpx.get(f"http://{HOST}:{port}/metrics").text
    totals = {
        family.name.removeprefix("tandem_model_"): sum(
            sample.value for sample in family.samples if sample.name.endswith("_total")
        )
        for family in text_string_to_metric_families(text)
    }
    return {name: totals[name] for name in ("loads", "evictions", "reloads")}


if __name__ == "__main__":
    main()
