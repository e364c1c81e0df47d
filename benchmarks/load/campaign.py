"""Who is measured when: servers that are compared take turns, round by round."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.children import child
from benchmarks.load import limit
from benchmarks.load.generator import pin
from benchmarks.load.process import NotReady
from benchmarks.load.servers import BOUND, OURS, TANDEM, running
from benchmarks.load.workloads import (
    FAIRNESS,
    OVERLOADS,
    PAIR,
    PAIRED,
    TAILS,
    WORKLOADS,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.load.measuring import Meter
    from benchmarks.load.results import Results
    from benchmarks.load.servers import Running, Server
    from benchmarks.load.workbench import Workbench
    from benchmarks.load.workloads import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """A run: `only` names the workloads, `rounds` says how often ours are measured."""

    bench: Workbench
    meter: Meter
    peers: Sequence[Server]
    only: Sequence[str]
    rounds: int

    def run(self) -> None:
        """Measure all; peers come between the rounds of ours, one at a time."""
        between = max(self.rounds - 1, 1)

        for turn in range(self.rounds):
            self._measure_limits()
            self._measure_ours(last=turn == self.rounds - 1)

            for peer in self.peers[turn::between] if turn < between else ():
                self._measure_peer(peer)

    @property
    def _results(self) -> Results:
        return self.meter.results

    @property
    def _workloads(self) -> list[Workload]:
        return [each for each in WORKLOADS if each.name in self.only]

    def _measure_limits(self) -> None:
        models = sorted({workload.model for workload in self._workloads})
        seconds = self.meter.seconds / len(limit.SIZES)

        with child() as alone:
            alone.call(pin, self.bench.server_cpus)

            for model in models:
                folder = self.bench.artifacts()[model]
                rates = self._results.limits.setdefault(model, {})

                for size in limit.SIZES:
                    rate = alone.call(limit.rows_per_second, folder, size, seconds)
                    rates.setdefault(str(size), []).append(rate)

    def _measure_ours(self, *, last: bool) -> None:
        with ExitStack() as stack:
            both = [
                started
                for server in OURS
                for started in stack.enter_context(self._started(server, "dense"))
            ]

            for workload in self._workloads:
                self._closed(both, workload)
                self._tails(both, workload)

            ours = [one for one in both if one.server.name == TANDEM]
            self._fairness(ours)

            if last:
                self._pairs(ours)
                # Whoever has no admission control is not to be trusted after this.
                self._overloads(both)

    def _measure_peer(self, peer: Server) -> None:
        for model in sorted({workload.model for workload in self._workloads}):
            with self._started(peer, model) as started:
                for workload in self._workloads:
                    if workload.model == model:
                        self._closed(started, workload)

    @contextmanager
    def _started(self, server: Server, model: str) -> Iterator[list[Running]]:
        """The server, or nothing but a note when it doesn't come up."""
        with ExitStack() as stack:
            try:
                started = [stack.enter_context(running(server, self.bench, model))]
            except NotReady as exc:
                self._results.notes.append(
                    f"`{server.name}` was left out for {model}: it didn't come up."
                )
                print(exc, flush=True)
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

    def _pairs(self, servers: Sequence[Running]) -> None:
        for server in servers if PAIR in self.only else ():
            for model in PAIRED:
                self.meter.pair(server, model)

    def _fairness(self, servers: Sequence[Running]) -> None:
        for server in servers if FAIRNESS in self.only else ():
            self.meter.fairness(server)

    def _overloads(self, servers: Sequence[Running]) -> None:
        for workload in self._workloads:
            for times in OVERLOADS if workload.opened else ():
                for server in servers:
                    self.meter.overload(server, workload, times)


def order(names: Sequence[str]) -> list[str]:
    """Servers as tables and plots show them: ours first."""
    first = [name for name in (TANDEM, BOUND) if name in names]
    return [*first, *(name for name in names if name not in first)]
