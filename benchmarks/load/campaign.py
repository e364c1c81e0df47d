"""Servers of the same models under the same load, in one run.

Written by `python -m benchmarks load`; `benchmarks/README.md` says how to run it and
how to read it. Compare ratios: seconds are those of one machine on one day.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks import peers
from benchmarks.harness import models
from benchmarks.harness.children import child
from benchmarks.harness.clocks import median_seconds
from benchmarks.harness.generator import generating
from benchmarks.harness.report import Report
from benchmarks.harness.run import say
from benchmarks.harness.servers import NotReady
from benchmarks.load.contenders import NAMES, OURS, TANDEM, running
from benchmarks.load.meter import Meter
from benchmarks.load.results import Results
from benchmarks.load.self_check import generator_rate
from benchmarks.load.tables import tables
from benchmarks.load.targets import figures
from benchmarks.load.workloads import (
    OVERLOADS,
    PAIRED,
    SIZES,
    TAILS,
    WORKLOADS,
    prepare,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.harness.run import Run
    from benchmarks.load.contenders import Contender, Running
    from benchmarks.load.workloads import Workbench, Workload

MODELS = sorted({workload.model for workload in WORKLOADS})


def measure(run: Run) -> Report:
    """Compare servers of the same models under the same load, in one run."""
    rounds, seconds = (1, 1.0) if run.quick else (3, 3.0)
    results = Results()
    notes = [f"server on CPU {run.server_cpus[0]}, generator on {run.client_cpus[0]}"]
    bench = prepare(run)

    with generating(run.client_cpus) as generator:
        log = bench.logs / "self-check.log"
        rate = generator_rate(generator, run.server_cpus, seconds, log)
        results.generator_rate = rate
        notes.append(
            f"generator: {rate:,.0f} requests a second of the dense model's size, "
            "against a server that does nothing but answer"
        )
        say(notes[-1])
        Campaign(
            bench=bench,
            meter=Meter(generator=generator, results=results, seconds=seconds),
            peers=_present(run, notes),
            rounds=rounds,
            notes=notes,
        ).run()

    return report_of(results, notes)


def report_of(results: Results, notes: Sequence[str]) -> Report:
    """Compare the results to their targets; make tables and plots of them."""

    def draw(folder: Path) -> dict[str, str]:
        if find_spec("matplotlib") is None:
            say("No plots: matplotlib is absent. Install the extra `bench`.")
            return {}

        from benchmarks.load.plots import draw_all

        return draw_all(results, folder)

    return Report(
        title="Under load, side by side",
        figures=figures(results),
        tables=tables(results),
        notes=notes,
        raw=[results],
        draw=draw,
    )


def _present(run: Run, notes: list[str]) -> list[Contender]:
    """Return the peers that can be started; note the versions, and the others."""
    present = [
        peer
        for peer in (NAMES[name] for name in run.peers)
        if peer.available(run.peers_home)
    ]
    absent = [name for name in run.peers if NAMES[name] not in present]
    versions = [
        f"{peer.name} {peers.version(run.peers_home, peer.environment)}"
        for peer in present
        if peer.environment
    ]

    if versions:
        notes.append(f"peers: {', '.join(versions)}")

    notes += [f"`{name}` was skipped: it isn't installed." for name in absent]
    return present


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """Measurements of ours in so many `rounds`, with the peers in between."""

    bench: Workbench
    meter: Meter
    peers: Sequence[Contender]
    rounds: int
    notes: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Measure all; peers come between the rounds of ours, one at a time."""
        between = max(self.rounds - 1, 1)

        for turn in range(self.rounds):
            self._measure_limits()
            self._measure_ours(last=turn == self.rounds - 1)

            for peer in self.peers[turn::between] if turn < between else ():
                self._measure_peer(peer)

    def _measure_limits(self) -> None:
        """Measure our runtime in a tight loop, at each size of batch."""
        seconds = self.meter.seconds / len(SIZES)

        with child(self.bench.run.server_cpus) as alone:
            for model in MODELS:
                folder = self.bench.artifacts[model]
                rates = self.meter.results.limits.setdefault(model, {})

                for size in SIZES:
                    rate = alone.call(rows_per_second, folder, size, seconds)
                    rates.setdefault(size, []).append(rate)

    def _measure_ours(self, *, last: bool) -> None:
        with ExitStack() as stack:
            both = [
                started
                for server in OURS
                for started in stack.enter_context(self._started(server, "dense"))
            ]
            ours = [one for one in both if one.contender.name == TANDEM]

            for workload in WORKLOADS:
                self._closed(both, workload)
                self._tails(both, workload)

            for server in ours:
                self.meter.fairness(server)

                for model in PAIRED if last else ():
                    self.meter.pair(server, model)

            # A server without admission control is not to be trusted after this.
            if last:
                self._overloads(both)

    def _measure_peer(self, peer: Contender) -> None:
        for model in MODELS:
            with self._started(peer, model) as started:
                for workload in WORKLOADS:
                    if workload.model == model:
                        self._closed(started, workload)

    @contextmanager
    def _started(self, contender: Contender, model: str) -> Iterator[list[Running]]:
        """Start a server; yield none, and note it, if it doesn't come up."""
        with ExitStack() as stack:
            try:
                started = [stack.enter_context(running(contender, self.bench, model))]
            except NotReady as exc:
                text = (
                    f"`{contender.name}` was left out for {model}: it didn't come up."
                )
                self.notes.append(text)
                say(str(exc))
                started = []

            yield started

    def _closed(self, servers: Sequence[Running], workload: Workload) -> None:
        for connections in workload.connections:
            for server in servers:
                self.meter.closed(server, workload, connections)

    def _tails(self, servers: Sequence[Running], workload: Workload) -> None:
        for percent in TAILS if workload.opened else ():
            for server in servers:
                self.meter.tail(server, workload, percent)

    def _overloads(self, servers: Sequence[Running]) -> None:
        for workload in WORKLOADS:
            for times in OVERLOADS if workload.opened else ():
                for server in servers:
                    self.meter.overload(server, workload, times)


def rows_per_second(folder: Path, size: int, seconds: float) -> float:
    """Run an artifact on one thread of this process, in batches of `size` rows."""
    call = models.servable_call(folder, 1, size)
    call()
    return size / median_seconds(call, seconds)
