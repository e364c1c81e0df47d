"""Growth of a server that has ten models, all asked at once, and memory for three."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness import models, wide
from benchmarks.harness.children import child
from benchmarks.harness.client import Tally, run_requests
from benchmarks.harness.clocks import percentile, wait_until
from benchmarks.harness.memory import MB, MIB, Sampler
from benchmarks.harness.report import Report, Table, at_least, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import serving_models

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange
    from benchmarks.harness.report import Figure
    from benchmarks.harness.run import Run
    from benchmarks.harness.servers import Server

TINY = "tiny"
MODELS, ROOM, UNITS = 10, 3, 2236
SLACK = 1.4
"""A model costs more than its weights: its graph, its threads, and 4 MiB of heaps."""
CONNECTIONS, FIRST_REQUESTS = 8, 200
PATIENCE_SECONDS = 600.0
COUNTS = ("loads", "evictions", "reloads")
INTRODUCTION = """\
{models} models of {size:.0f} MB of weights in one server, whose `--memory-budget` has
room for {room}. All are asked in a random order over {connections} connections, and
each answer is compared. The resident memory of the server's process is read every
10 ms, beginning when TensorFlow is imported, a tiny model has answered, and none of the
others is there. Growth is over that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetOutcome:
    """Bytes of `budget` and `growth`; in `longest` seconds no sample was taken."""

    budget: int
    growth: int
    samples: int
    longest: float
    seconds: float
    tally: Tally
    counts: dict[str, float]


def measure(run: Run) -> Report:
    """Measure whether models keep to their memory budget."""
    outcome = _serve(run.folder, 300 if run.quick else 2000)
    return Report(
        title="A budget of memory",
        introduction=INTRODUCTION.format(
            models=MODELS,
            size=wide.weights_bytes(UNITS) / MB,
            room=ROOM,
            connections=CONNECTIONS,
        ),
        figures=_figures(outcome),
        tables=[
            Table(title="Under load", columns=("figure", "value"), rows=_rows(outcome))
        ],
    )


def _serve(folder: Path, requests: int) -> BudgetOutcome:
    """Serve models that are made in `folder`, and ask them all."""
    repository, staged = folder / "models", folder / "staged"
    names = [f"wide{number}" for number in range(MODELS)]
    exchanges = _write(repository, staged, names)
    budget = int(ROOM * SLACK * wide.weights_bytes(UNITS))
    flags = ("--scan-seconds", "1", "--memory-budget", str(budget))
    place = (repository, folder / "cache", folder / "log")

    with serving_models(*place, *flags, "--log-level", "warning") as server:
        port = server.port
        tiny = wide.exchanges(TINY, 1, 0)
        server.wait_ready(tiny[0])
        _ask(port, tiny, FIRST_REQUESTS)

        with Sampler(server.process.pid) as sampler:
            for name in names:
                (staged / f"{name}.pb").rename(repository / f"{name}.pb")

            _wait_available(server, names)
            say(f"{MODELS} models are available; {requests:,} requests")
            chosen = random.Random(models.SEED).choices(exchanges, k=requests)
            started = time.perf_counter()
            tally = _ask(port, chosen, requests)
            seconds = time.perf_counter() - started

        return BudgetOutcome(
            budget=budget,
            growth=sampler.growth,
            samples=len(sampler.samples),
            longest=sampler.longest,
            seconds=seconds,
            tally=tally,
            counts=_counts(server),
        )


def _write(repository: Path, staged: Path, names: Sequence[str]) -> list[Exchange]:
    """Write the tiny model into `repository`, the others, which are asked, into
    `staged`."""
    found = []

    for folder in (repository, staged):
        folder.mkdir()

    with child() as writer:
        writer.call(wide.write_graph, repository / f"{TINY}.pb", 1, 0)

        for seed, name in enumerate(names, 1):
            writer.call(wide.write_graph, staged / f"{name}.pb", UNITS, seed)
            found += wide.exchanges(name, UNITS, seed)

    return found


def _ask(port: int, exchanges: Sequence[Exchange], requests: int) -> Tally:
    sending = run_requests(port, exchanges, requests=requests, connections=CONNECTIONS)
    return asyncio.run(sending)


def _wait_available(server: Server, names: Sequence[str]) -> None:
    """Wait until all are compiled. Raises `TimeoutError`."""

    def available() -> bool:
        found = httpx.get(f"{server.url}/v1/models").json()["models"]
        states = {
            model["name"]: version["state"]
            for model in found
            for version in model["versions"]
        }
        return all(states.get(name) == "AVAILABLE" for name in names)

    if not wait_until(available, PATIENCE_SECONDS, every=0.2):
        raise TimeoutError("The models didn't become available.")


def _counts(server: Server) -> dict[str, float]:
    """Sum loads, evictions and reloads over the models, by the server's metrics."""
    text = httpx.get(f"{server.url}/metrics").text
    totals = {
        family.name.removeprefix("tandem_model_"): sum(
            sample.value for sample in family.samples if sample.name.endswith("_total")
        )
        for family in text_string_to_metric_families(text)
    }
    return {name: totals[name] for name in COUNTS}


def _rows(outcome: BudgetOutcome) -> list[tuple[str, str]]:
    tally, seconds = outcome.tally, np.asarray(outcome.tally.seconds)
    return [
        ("budget, MiB", f"{outcome.budget / MIB:.1f}"),
        ("largest growth, MiB", f"{outcome.growth / MIB:.1f}"),
        ("samples", f"{outcome.samples:,}"),
        ("longest time between two, ms", f"{outcome.longest * 1e3:.0f}"),
        *((f"status {code}", f"{n:,}") for code, n in sorted(tally.statuses.items())),
        ("wrong answers", f"{tally.wrong:,}"),
        ("requests a second", f"{len(seconds) / outcome.seconds:,.0f}"),
        ("p50, ms", f"{percentile(seconds, 50):,.0f}"),
        ("p99, ms", f"{percentile(seconds, 99):,.0f}"),
        *((name, f"{value:,.0f}") for name, value in outcome.counts.items()),
    ]


def _figures(outcome: BudgetOutcome) -> list[Figure]:
    tally = outcome.tally
    growth = outcome.growth / outcome.budget
    return [
        at_most(1.0, "largest growth over the budget", growth),
        at_most(0, "requests not answered 200", tally.failed.total() + tally.resets),
        at_most(0, "answers with a wrong value", tally.wrong),
        at_least(MODELS, "models unloaded to make room", outcome.counts["evictions"]),
    ]
