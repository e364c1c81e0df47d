"""Results as a run would give them, without the run."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.harness.recording import Window
from benchmarks.load.contenders import NAMES, TANDEM
from benchmarks.load.results import Key, Kind, Point, Results
from benchmarks.load.workloads import (
    FAIRNESS,
    HEAVY_CONNECTIONS,
    LIGHT,
    OVERLOADS,
    PAIR,
    TAILS,
    WORKLOADS,
)

WINDOW = Window(
    offered=0,
    sent=0,
    throughput=0,
    goodput=0,
    p50=2,
    p90=3,
    p99=6,
    p999=9,
    refusal_p99=None,
    late_p99=0.2,
    statuses={200: 1000},
    resets=0,
    unanswered=0,
    dropped=0,
    wrong=0,
)
SPEEDS = {
    "tandem": 9000.0,
    "bound": 11000.0,
    "tandem-log": 8000.0,
    "triton": 2400.0,
    "mlserver": 1200.0,
    "litserve": 600.0,
    "bentoml": 550.0,
    "flask": 620.0,
}
"""Answers a second of the small model, at many connections."""


MOBILENET = {
    "tandem": 56.0,
    "bound": 58.0,
    "tandem-log": 55.5,
    "triton": 30.0,
    "mlserver": 24.0,
    "litserve": 18.0,
    "bentoml": 6.0,
    "flask": 5.0,
}


def results() -> Results:
    """A run of every workload and server, in which all figures are reached."""
    made = Results(
        generator_rate=40000.0,
        limits={"dense": {1: [12e3], 64: [5e5]}, "mobilenet": {8: [60.0]}},
    )

    for workload in WORKLOADS:
        for server in NAMES:
            for connections in workload.connections:
                share = connections / (connections + 12)
                fast = SPEEDS[server] * share
                rate = fast if workload.model == "dense" else MOBILENET[server]
                rate /= workload.rows
                _add(made, Key(workload.name, "closed", connections, server), rate)

    for workload in WORKLOADS[:2]:
        for server in ("tandem", "bound"):
            capacity = made.capacity(workload.name, server) or 0
            _rates(made, workload.name, server, capacity)

    kinds: tuple[Kind, ...] = ("alone", "together")

    for kind in kinds:
        for stream in ("dense", "dense_frozen"):
            _add(
                made,
                Key(PAIR, kind, 32, TANDEM, stream),
                9000 if kind == "alone" else 4400,
            )

    _add(made, Key(FAIRNESS, "alone", 0, TANDEM, LIGHT), 100)
    _add(
        made, Key(FAIRNESS, "together", HEAVY_CONNECTIONS, TANDEM, LIGHT), 100, p99=12.0
    )
    return made


def _rates(made: Results, workload: str, server: str, capacity: float) -> None:
    for percent in TAILS:
        slow = 1 / (1 - percent / 100)
        key = Key(workload, "tail", percent, server)
        _add(
            made,
            key,
            capacity * percent / 100,
            p50=slow,
            p90=2 * slow,
            p99=2.5 * slow,
            p999=5 * slow,
            asked=capacity * percent / 100,
        )

    for times in OVERLOADS:
        key = Key(workload, "overload", times, server)
        share = 0.97 if server == TANDEM else 1 / times**2
        _add(
            made,
            key,
            capacity * share,
            asked=capacity * times,
            refusal_p99=8.0,
            statuses={200: 4000, 429: 4000 * (times - 1)},
        )


def _add(
    made: Results, key: Key, rate: float, asked: float | None = None, **changes: object
) -> None:
    window = replace(WINDOW, throughput=rate, goodput=rate, offered=rate, sent=rate)
    made.points.append(
        Point(
            key=key,
            window=replace(window, **changes),  # type: ignore[arg-type]
            asked=asked,
            cpu_us=1e6 / rate,
        )
    )
