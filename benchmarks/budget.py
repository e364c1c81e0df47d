"""Growth of a server that has ten models, all asked at once, and memory for three.

Ten models of 20 MB of weights in one server, whose `--memory-budget` has room for
three. All are asked in a random order over eight connections, and each answer is
compared. The resident memory of the server's process is read every 10 ms, beginning
when TensorFlow is imported, a tiny model has answered, and none of the others is there.
Growth is over that.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.client import Tally, run_requests
from benchmarks.harness.clocks import percentile, wait_until
from benchmarks.harness.memory import MIB, sampling
from benchmarks.harness.report import Report, Table, at_least, at_most
from benchmarks.harness.run import say
from benchmarks.harness.servers import serving_models, states

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.harness.exchanges import Exchange
    from benchmarks.harness.memory import Samples
    from benchmarks.harness.run import Run
    from benchmarks.harness.servers import Server

TINY = "tiny"
SMALL = models.Wide(units=1, seed=0)
LARGE = {f"wide{seed}": models.Wide(units=2236, seed=seed) for seed in range(1, 11)}
ROOM = 3
SLACK = 1.4
"""A model costs more than its weights: its graph, its threads, and 4 MiB of heaps."""
BUDGET = int(ROOM * SLACK * LARGE["wide1"].bytes)
FLAGS = ("--scan-seconds", "1", "--memory-budget", str(BUDGET))
CONNECTIONS, FIRST_REQUESTS = 8, 200
PATIENCE_SECONDS = 600.0


def measure(run: Run) -> Report:
    """Measure whether models keep to their memory budget."""
    requests = 300 if run.quick else 2000
    repository, staged = run.subfolder("models"), run.subfolder("staged")
    exchanges = _write(repository, staged)
    chosen = random.Random(models.SEED).choices(exchanges, k=requests)

    with serving_models(run.folder, *FLAGS, "--log-level", "warning") as server:
        _ask(server, SMALL.exchanges(TINY), FIRST_REQUESTS)

        with sampling(server.process.pid) as samples:
            for path in staged.iterdir():
                path.rename(repository / path.name)

            _wait_available(server)
            say(f"{len(LARGE)} models are available; {requests:,} requests")
            started = time.perf_counter()
            tally = _ask(server, chosen, requests)
            rate = requests / (time.perf_counter() - started)

        counts = _counts(server)

    failures = tally.failed.total() + tally.resets
    return Report(
        title="A budget of memory",
        figures=[
            at_most(1.0, "largest growth over the budget", samples.growth / BUDGET),
            at_most(0, "requests not answered 200", failures),
            at_most(0, "answers with a wrong value", tally.wrong),
            at_least(len(LARGE), "models unloaded to make room", counts["evictions"]),
        ],
        tables=[_table(samples, tally, {"requests a second": rate, **counts})],
    )


def _write(repository: Path, staged: Path) -> list[Exchange]:
    """Write the tiny model into `repository`, the others, which are asked, into
    `staged`."""
    found = []

    with child() as writer:
        writer.call(SMALL.write_graph, repository / f"{TINY}.pb")

        for name, model in LARGE.items():
            writer.call(model.write_graph, staged / f"{name}.pb")
            found += model.exchanges(name)

    return found


def _ask(server: Server, exchanges: Sequence[Exchange], requests: int) -> Tally:
    return asyncio.run(
        run_requests(server.port, exchanges, requests=requests, connections=CONNECTIONS)
    )


def _wait_available(server: Server) -> None:
    """Wait until all are compiled. Raises `TimeoutError`."""

    def available() -> bool:
        found = server.get("/v1/models").json()
        return all("AVAILABLE" in states(found, name).values() for name in LARGE)

    if not wait_until(available, PATIENCE_SECONDS, every=0.2):
        raise TimeoutError("The models didn't become available.")


def _counts(server: Server) -> dict[str, float]:
    """Sum loads, evictions and reloads over the models, by the server's metrics."""
    totals = {
        family.name.removeprefix("tandem_model_"): sum(
            sample.value for sample in family.samples if sample.name.endswith("_total")
        )
        for family in text_string_to_metric_families(server.get("/metrics").text)
    }
    return {name: totals[name] for name in ("loads", "evictions", "reloads")}


def _table(samples: Samples, tally: Tally, further: dict[str, float]) -> Table:
    seconds = np.asarray(tally.seconds)
    values = {
        "budget, MiB": BUDGET / MIB,
        "largest growth, MiB": samples.growth / MIB,
        "samples": len(samples.resident),
        "longest time between two, ms": samples.longest * 1e3,
        "p50, ms": percentile(seconds, 50) or np.nan,
        "p99, ms": percentile(seconds, 99) or np.nan,
        **further,
    }
    return Table(
        title="Under load", columns=("figure", "value"), rows=[*values.items()]
    )
