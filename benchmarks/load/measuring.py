"""Measures one server at one thing; adds what came of it to the results."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from benchmarks.load.recording import OK, RESET, UNANSWERED, figures
from benchmarks.load.results import Key, Point
from benchmarks.load.streams import Closed, Open, Span
from benchmarks.load.workbench import FROZEN
from benchmarks.load.workloads import (
    BOUND_SECONDS,
    FAIRNESS,
    HEAVY,
    HEAVY_CONNECTIONS,
    LIGHT,
    LIGHT_RATE,
    PAIR,
    PAIRED,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.load.generator import Generator
    from benchmarks.load.recording import Recording
    from benchmarks.load.results import Kind, Results
    from benchmarks.load.servers import Running
    from benchmarks.load.streams import Stream
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
"""No more is asked for than this share of what the generator can send."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """`seconds` is how long a point takes that has enough requests."""

    generator: Generator
    results: Results
    seconds: float

    def closed(self, running: Running, workload: Workload, connections: int) -> None:
        """Throughput: every connection always has a request under way."""
        stream = Closed(
            port=running.port,
            exchanges=running.exchanges(workload.model, workload.rows),
            connections=connections,
        )
        key = _key(running, workload.name, "closed", connections)
        self._saturate(running, [stream], [key])

    def tail(self, running: Running, workload: Workload, percent: int) -> None:
        """Latencies at a fixed rate below the server's capacity."""
        key = _key(running, workload.name, "tail", percent)
        self._open(running, workload, key, percent / 100, settle=0.5)

    def overload(self, running: Running, workload: Workload, times: int) -> None:
        """Goodput and refusals at a fixed rate above it."""
        key = _key(running, workload.name, "overload", times)
        self._open(running, workload, key, times, settle=OVERLOAD_SETTLE)
        calm(running, workload)

    def pair(self, running: Running, model: str) -> None:
        """`.h5` and `.pb` by separate connections: each alone, and both at once."""
        total = PAIRED[model]
        names = [model, f"{model}{FROZEN}"]

        for name in names:
            key = _key(running, PAIR, "alone", total, name)
            self._saturate(running, [_closed(running, name, total)], [key])

        streams = [_closed(running, name, total // len(names)) for name in names]
        keys = [_key(running, PAIR, "together", total, name) for name in names]
        self._saturate(running, streams, keys)

    def fairness(self, running: Running) -> None:
        """A trickle to a light model: alone, and beside a heavy one, saturated."""
        light = Open(
            port=running.port,
            exchanges=running.exchanges(LIGHT, 1),
            rate=LIGHT_RATE,
            pace="constant",
        )
        heavy = _closed(running, HEAVY, HEAVY_CONNECTIONS)
        span = self._span(LIGHT_RATE, settle=OVERLOAD_SETTLE)
        alone = _key(running, FAIRNESS, "alone", 0, LIGHT)
        self._measure(running, [light], [alone], span, asked=LIGHT_RATE)
        names = (LIGHT, HEAVY)
        keys = [
            _key(running, FAIRNESS, "together", HEAVY_CONNECTIONS, name)
            for name in names
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
    ) -> None:
        capacity = self.results.capacity(workload.name, running.server.name)

        if not capacity:
            return

        most = OF_GENERATOR * (self.results.generator_rate or inf)
        stream = Open(
            port=running.port,
            exchanges=running.exchanges(workload.model, workload.rows),
            rate=min(capacity * share, most),
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
        warm = Span(seconds=seconds, settle=0, drain=PATIENCE)
        self.generator.run(streams, warm)
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
        used = running.process.cpu_seconds()
        recordings = self.generator.run(streams, span)
        used = running.process.cpu_seconds() - used
        answers = sum(map(_answers, recordings))

        for key, recording in zip(keys, recordings, strict=True):
            point = Point(
                key=key,
                figures=figures(
                    recording,
                    begin=span.settle,
                    end=_end(recording, span),
                    bound=BOUND_SECONDS,
                ),
                asked=asked,
                cpu_us=used / answers * 1e6 if answers else None,
            )
            self.results.points.append(point)
            print(describe(point), flush=True)


def describe(point: Point) -> str:
    """One line, for who waits."""
    key, found = point.key, point.figures
    name = " ".join(
        filter(None, (key.workload, key.kind, f"{key.level:g}", key.server, key.stream))
    )
    times = ", ".join(
        f"{label} {value:.1f}"
        for label, value in (("p50", found.p50), ("p99", found.p99))
        if value is not None
    )
    odd = {code: n for code, n in found.statuses.items() if code != str(OK)}
    rest = f" {odd}" if odd else ""
    return f"{name}: {found.throughput:,.0f}/s {times}{rest}"


def calm(running: Running, workload: Workload) -> None:
    """Wait until the server has worked off what it was asked for."""
    request = running.exchanges(workload.model, workload.rows)[0].request
    end = time.monotonic() + CALM_SECONDS

    while time.monotonic() < end:
        started = time.monotonic()
        running.process.wait_ready(running.port, request)

        if time.monotonic() - started < BOUND_SECONDS:
            return


def _closed(running: Running, model: str, connections: int) -> Closed:
    return Closed(
        port=running.port,
        exchanges=running.exchanges(model, 1),
        connections=connections,
    )


def _key(
    running: Running, workload: str, kind: Kind, level: float, stream: str = ""
) -> Key:
    return Key(
        workload=workload,
        kind=kind,
        level=level,
        server=running.server.name,
        stream=stream,
    )


def _answers(recording: Recording) -> int:
    return sum(status not in (RESET, UNANSWERED) for status in recording.statuses)


def _end(recording: Recording, span: Span) -> float:
    """A closed loop counts to its last answer: answers come in batches, and a window
    that ended between two would be off by one of them."""
    if span.settle:
        return span.end

    return max(recording.ended, default=span.end)
