"""Measurements of one server at a time, added to the results."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from benchmarks.harness.generator import Closed, Open, Span
from benchmarks.harness.recording import DROPPED, OK, RESET, UNANSWERED, window
from benchmarks.harness.run import say
from benchmarks.load.results import Key, Point
from benchmarks.load.workloads import (
    BOUND_SECONDS,
    FAIRNESS,
    FROZEN,
    HEAVY,
    HEAVY_CONNECTIONS,
    LIGHT,
    LIGHT_RATE,
    PAIR,
    PAIRED,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness.generator import Generator, Stream
    from benchmarks.harness.recording import Recording
    from benchmarks.load.contenders import Running
    from benchmarks.load.results import Results
    from benchmarks.load.workloads import Workload

ENOUGH = 300
"""Requests that a percentile should rest on; a point may take longer for them."""
LONGER = 3
WARM_SECONDS = 0.5
PATIENCE = 20.0
"""Seconds that the last answers of a closed loop may take."""
OVERLOAD_SETTLE = 1.0
CALM_SECONDS = 30.0
OF_GENERATOR = 0.8
"""Most that is asked for, of the rate that the generator can send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """`seconds` is how long a point takes that has enough requests."""

    generator: Generator
    results: Results
    seconds: float

    def closed(self, running: Running, workload: Workload, connections: int) -> None:
        """Measure throughput: every connection always has a request open."""
        stream = _closed(running, workload.model, connections, workload.rows)
        key = Key(workload.name, "closed", connections, running.contender.name)
        self._saturate(running, [stream], [key])

    def tail(self, running: Running, workload: Workload, percent: int) -> None:
        """Measure latencies at a fixed rate below the server's capacity."""
        key = Key(workload.name, "tail", percent, running.contender.name)
        self._open(running, workload, key, percent / 100, settle=0.5)

    def overload(self, running: Running, workload: Workload, times: int) -> None:
        """Measure goodput and refusals at a fixed rate above it."""
        key = Key(workload.name, "overload", times, running.contender.name)
        self._open(running, workload, key, times, settle=OVERLOAD_SETTLE, drops=True)
        _calm(running, workload)

    def pair(self, running: Running, model: str) -> None:
        """Measure a `.h5` and its `.pb`, each alone and both at once."""
        total, server = PAIRED[model], running.contender.name
        names = [model, f"{model}{FROZEN}"]

        for name in names:
            key = Key(PAIR, "alone", total, server, name)
            self._saturate(running, [_closed(running, name, total)], [key])

        streams = [_closed(running, name, total // len(names)) for name in names]
        keys = [Key(PAIR, "together", total, server, name) for name in names]
        self._saturate(running, streams, keys)

    def fairness(self, running: Running) -> None:
        """Measure a trickle to a light model, alone and beside a heavy one."""
        server = running.contender.name
        light = Open(
            port=running.port,
            exchanges=running.exchanges(LIGHT, 1),
            rate=LIGHT_RATE,
            pace="constant",
        )
        heavy = _closed(running, HEAVY, HEAVY_CONNECTIONS)
        span = self._span(LIGHT_RATE, settle=OVERLOAD_SETTLE)
        alone = Key(FAIRNESS, "alone", 0, server, LIGHT)
        self._measure(running, [light], [alone], span, asked=LIGHT_RATE)
        keys = [
            Key(FAIRNESS, "together", HEAVY_CONNECTIONS, server, name)
            for name in (LIGHT, HEAVY)
        ]
        self._measure(running, [light, heavy], keys, span)

    def _open(
        self,
        running: Running,
        workload: Workload,
        key: Key,
        share: float,
        *,
        settle: float,
        drops: bool = False,
    ) -> None:
        capacity = self.results.capacity(workload.name, running.contender.name)

        if not capacity:
            return

        most = OF_GENERATOR * (self.results.generator_rate or inf)
        stream = Open(
            port=running.port,
            exchanges=running.exchanges(workload.model, workload.rows),
            rate=min(capacity * share, most),
            drops=drops,
            seed=len(self.results.points) + 1,
        )
        span = self._span(stream.rate, settle=settle)
        self._measure(running, [stream], [key], span, asked=stream.rate)

    def _span(self, rate: float, *, settle: float) -> Span:
        wanted = max(self.seconds, ENOUGH / rate)
        return Span(seconds=min(wanted, LONGER * self.seconds), settle=settle)

    def _saturate(
        self, running: Running, streams: Sequence[Stream], keys: Sequence[Key]
    ) -> None:
        seconds = min(WARM_SECONDS, self.seconds)
        self.generator.run(streams, Span(seconds=seconds, settle=0, drain=PATIENCE))
        span = Span(seconds=self.seconds, settle=0, drain=PATIENCE)
        self._measure(running, streams, keys, span)

    def _measure(
        self,
        running: Running,
        streams: Sequence[Stream],
        keys: Sequence[Key],
        span: Span,
        *,
        asked: float | None = None,
    ) -> None:
        used = running.server.cpu_seconds()
        recordings = self.generator.run(streams, span)
        used = running.server.cpu_seconds() - used
        answers = sum(map(_answers, recordings))

        for key, recording in zip(keys, recordings, strict=True):
            point = Point(
                key=key,
                window=window(
                    recording,
                    begin=span.settle,
                    end=_end(recording, span),
                    bound=BOUND_SECONDS,
                ),
                asked=asked,
                cpu_us=used / answers * 1e6 if answers else None,
            )
            self.results.points.append(point)
            say(_describe(point))


def _describe(point: Point) -> str:
    """Return a line of progress."""
    name = " ".join(f"{part}" for part in point.key if part != "")
    found = point.window
    times = ", ".join(
        f"{label} {value:.1f}"
        for label, value in (("p50", found.p50), ("p99", found.p99))
        if value is not None
    )
    odd = {code: n for code, n in found.statuses.items() if code != OK}
    return f"{name}: {found.throughput:,.0f}/s {times}{f' {odd}' if odd else ''}"


def _calm(running: Running, workload: Workload) -> None:
    """Wait until the server has worked off its backlog."""
    exchange = running.exchanges(workload.model, workload.rows)[0]
    end = monotonic() + CALM_SECONDS

    while monotonic() < end:
        started = monotonic()
        running.server.wait_ready(exchange)

        if monotonic() - started < BOUND_SECONDS:
            return


def _closed(running: Running, model: str, connections: int, rows: int = 1) -> Closed:
    return Closed(
        port=running.port,
        exchanges=running.exchanges(model, rows),
        connections=connections,
    )


def _answers(recording: Recording) -> int:
    return sum(
        status not in (RESET, UNANSWERED, DROPPED) for status in recording.statuses
    )


def _end(recording: Recording, span: Span) -> float:
    """Count a closed loop to its last answer."""
    if span.settle:
        return span.end

    # Answers come in batches: a window that ended between two would be off by one.
    return max(recording.ended, default=span.end)
