"""The figures that a run must reach, from its results."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

from benchmarks.load.recording import OK, REFUSED
from benchmarks.load.results import Key
from benchmarks.load.servers import BOUND, TANDEM
from benchmarks.load.workloads import (
    DENSE,
    FAIRNESS,
    HEAVY_CONNECTIONS,
    LIGHT,
    MOBILENET,
    MOBILENET_8,
)
from benchmarks.report import at_least, at_most

if TYPE_CHECKING:
    from benchmarks.load.results import Results
    from benchmarks.load.workloads import Workload
    from benchmarks.report import Target

TIMES = {
    DENSE.name: {
        BOUND: 0.5,
        "triton": 2.5,
        "mlserver": 5.0,
        "litserve": 10.0,
        "bentoml": 10.0,
        "flask": 10.0,
    },
    MOBILENET.name: {BOUND: 0.85, "mlserver": 2.0, "flask": 10.0},
}
"""How many times as many answers a second as another server ours must give."""

OF_LIMIT = 0.85
TAIL_PERCENT, TAIL_RATIO = 70, 4.0
OVERLOAD, OF_PEAK = 5, 0.9
ACCEPTED_MS, REFUSED_MS = 100.0, 25.0
BESIDE = 3.0
"""How many times its p99 alone a light model's may be beside a heavy one."""


def targets(results: Results) -> list[Target]:
    """Those of what was measured: a peer that is absent sets none."""
    return [
        *_ratios(results),
        *_limit(results),
        *_tails(results),
        *_overloads(results),
        *_fairness(results),
        *_failures(results),
    ]


def standard(workload: Workload, server: str) -> Key:
    """The key of the closed loop that servers are compared at."""
    return Key(
        workload=workload.name, kind="closed", level=workload.standard, server=server
    )


def ratio(upper: float | None, lower: float | None) -> float | None:
    """`None` where one of the two is missing."""
    return upper / lower if upper is not None and lower else None


def beside(results: Results) -> float | None:
    """The light model's p99 beside the heavy one, over its p99 alone."""
    alone = Key(workload=FAIRNESS, kind="alone", level=0, server=TANDEM, stream=LIGHT)
    together = Key(
        workload=FAIRNESS,
        kind="together",
        level=HEAVY_CONNECTIONS,
        server=TANDEM,
        stream=LIGHT,
    )
    return ratio(results.median(together, "p99"), results.median(alone, "p99"))


def _ratios(results: Results) -> list[Target]:
    found = []

    for workload in (DENSE, MOBILENET):
        ours = results.median(standard(workload, TANDEM), "throughput")

        for server, limit in TIMES[workload.name].items():
            theirs = results.median(standard(workload, server), "throughput")

            if theirs is not None:
                name = (
                    f"{workload.title}, {workload.standard} connections: "
                    f"answers a second over {server}'s"
                )
                found.append(at_least(limit, name, _known(ratio(ours, theirs))))

    return found


def _limit(results: Results) -> list[Target]:
    limit = results.limit(MOBILENET_8.model)
    rate = results.median(standard(MOBILENET_8, TANDEM), "throughput")

    if rate is None:
        return []

    share = ratio(rate * MOBILENET_8.rows, limit)
    name = f"{MOBILENET_8.title}: rows a second over the in-process limit"
    return [at_least(OF_LIMIT, name, _known(share))]


def _tails(results: Results) -> list[Target]:
    found = []

    for workload in (DENSE, MOBILENET):
        key = _tail(workload)

        if results.found(key):
            share = ratio(results.median(key, "p99"), results.median(key, "p50"))
            name = f"{workload.title}, {TAIL_PERCENT} % of capacity: p99 over p50"
            found.append(at_most(TAIL_RATIO, name, _known(share)))

    return found


def _overloads(results: Results) -> list[Target]:
    found: list[Target] = []

    for workload in (DENSE, MOBILENET):
        key = Key(
            workload=workload.name, kind="overload", level=OVERLOAD, server=TANDEM
        )

        if results.found(key):
            found += _overload(results, workload, key)

    return found


def _overload(results: Results, workload: Workload, key: Key) -> list[Target]:
    goodput = results.median(key, "goodput")
    peak = results.capacity(workload.name, TANDEM)
    accepted = results.median(key, "p99")
    before = results.median(_tail(workload), "p99")
    limit = before + ACCEPTED_MS if before is not None else nan
    refused = results.median(key, "refusal_p99")
    times = results.times(results.found(key)[0]) or nan
    name = f"{workload.title}, {times:.2g} times capacity"
    return [
        at_least(OF_PEAK, f"{name}: goodput over peak", _known(ratio(goodput, peak))),
        at_most(limit, f"{name}: p99 of the accepted, ms", _known(accepted)),
        at_most(REFUSED_MS, f"{name}: p99 of the refusals, ms", _known(refused)),
    ]


def _fairness(results: Results) -> list[Target]:
    times = beside(results)

    if times is None:
        return []

    return [at_most(BESIDE, "light model's p99 beside a heavy one, over alone", times)]


def _failures(results: Results) -> list[Target]:
    ours = [point.figures for point in results.points if point.key.server == TANDEM]
    failed = sum(
        count
        for each in ours
        for status, count in each.statuses.items()
        if int(status) >= 500 and int(status) not in REFUSED
    )
    odd = sum(
        count
        for each in ours
        for status, count in each.statuses.items()
        if int(status) < 500 and int(status) not in (OK, *REFUSED)
    )
    return [
        at_most(0, "requests answered 5xx, refusals apart", failed),
        at_most(0, "requests answered otherwise than 200 or refused", odd),
        at_most(0, "connections reset", sum(each.resets for each in ours)),
        at_most(0, "answers with a wrong value", sum(each.wrong for each in ours)),
    ]


def _tail(workload: Workload) -> Key:
    return Key(workload=workload.name, kind="tail", level=TAIL_PERCENT, server=TANDEM)


def _known(figure: float | None) -> float:
    """What is missing misses its target."""
    return nan if figure is None else figure
