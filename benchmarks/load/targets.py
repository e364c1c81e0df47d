"""The figures that a run under load must reach."""

from __future__ import annotations

from collections import Counter
from math import nan
from typing import TYPE_CHECKING

from benchmarks.harness.recording import OK, REFUSED
from benchmarks.harness.report import at_least, at_most
from benchmarks.load.contenders import BOUND, TANDEM
from benchmarks.load.results import Key, ratio, standard
from benchmarks.load.workloads import (
    DENSE,
    FAIRNESS,
    HEAVY_CONNECTIONS,
    LIGHT,
    MOBILENET,
    MOBILENET_8,
)

if TYPE_CHECKING:
    from benchmarks.harness.report import Figure
    from benchmarks.load.results import Results
    from benchmarks.load.workloads import Workload

TIMES = {
    DENSE.name: {
        BOUND: 0.8,
        "triton": 3.5,
        "mlserver": 6.0,
        "litserve": 14.0,
        "bentoml": 14.0,
        "flask": 14.0,
    },
    MOBILENET.name: {BOUND: 0.9, "mlserver": 2.0, "flask": 10.0},
}
"""Targets for our answers a second over another server's."""
OF_LIMIT = 0.85
TAIL_PERCENT, TAIL_RATIO = 70, 3.0
OVERLOAD = 5
OF_PEAK = {DENSE.name: 0.7, MOBILENET.name: 0.9}
ACCEPTED_MS = 100.0
REFUSED_MS = {DENSE.name: 500.0, MOBILENET.name: 25.0}
BESIDE = 3.0
"""Most that a light model's p99 may be beside a heavy one, over its p99 alone."""


def figures(results: Results) -> list[Figure]:
    """Compare the results to the targets; a peer that is absent sets none."""
    return [
        *_ratios(results),
        *_limit(results),
        *_tails(results),
        *_overloads(results),
        *_fairness(results),
        *_failures(results),
    ]


def beside(results: Results) -> float | None:
    """Return the light model's p99 beside the heavy one, over its p99 alone."""
    alone = Key(FAIRNESS, "alone", 0, TANDEM, LIGHT)
    together = Key(FAIRNESS, "together", HEAVY_CONNECTIONS, TANDEM, LIGHT)
    return ratio(results.median(together, "p99"), results.median(alone, "p99"))


def _ratios(results: Results) -> list[Figure]:
    found = []

    for workload in (DENSE, MOBILENET):
        ours = results.median(standard(workload, TANDEM), "throughput")
        at = f"{workload.title}, {workload.standard} connections"

        for server, target in TIMES[workload.name].items():
            theirs = results.median(standard(workload, server), "throughput")

            if theirs is not None:
                name = f"{at}: answers a second over {server}'s"
                found.append(at_least(target, name, _known(ratio(ours, theirs))))

    return found


def _limit(results: Results) -> list[Figure]:
    rate = results.median(standard(MOBILENET_8, TANDEM), "throughput")

    if rate is None:
        return []

    share = ratio(rate * MOBILENET_8.rows, results.limit(MOBILENET_8.model))
    name = f"{MOBILENET_8.title}: rows a second over the in-process limit"
    return [at_least(OF_LIMIT, name, _known(share))]


def _tails(results: Results) -> list[Figure]:
    found = []

    for workload in (DENSE, MOBILENET):
        key = _tail(workload)

        if results.found(key):
            share = ratio(results.median(key, "p99"), results.median(key, "p50"))
            name = f"{workload.title}, {TAIL_PERCENT} % of capacity: p99 over p50"
            found.append(at_most(TAIL_RATIO, name, _known(share)))

    return found


def _overloads(results: Results) -> list[Figure]:
    return [
        figure
        for workload in (DENSE, MOBILENET)
        for key in [Key(workload.name, "overload", OVERLOAD, TANDEM)]
        if results.found(key)
        for figure in _overload(results, workload, key)
    ]


def _overload(results: Results, workload: Workload, key: Key) -> list[Figure]:
    goodput = results.median(key, "goodput")
    peak = results.capacity(workload.name, TANDEM)
    accepted = results.median(key, "p99")
    limit = _known(results.median(_tail(workload), "p99")) + ACCEPTED_MS
    refused = results.median(key, "refusal_p99")
    times = results.times(results.found(key)[0]) or nan
    name = f"{workload.title}, {times:.2g} times capacity"
    return [
        at_least(
            OF_PEAK[workload.name],
            f"{name}: goodput over peak",
            _known(ratio(goodput, peak)),
        ),
        at_most(limit, f"{name}: p99 of the accepted, ms", _known(accepted)),
        at_most(
            REFUSED_MS[workload.name],
            f"{name}: p99 of the refusals, ms",
            _known(refused),
        ),
    ]


def _fairness(results: Results) -> list[Figure]:
    times = beside(results)

    if times is None:
        return []

    return [at_most(BESIDE, "light model's p99 beside a heavy one, over alone", times)]


def _failures(results: Results) -> list[Figure]:
    windows = [each.window for each in results.points if each.key.server == TANDEM]
    statuses: Counter[int] = Counter()

    for window in windows:
        statuses.update(window.statuses)

    other = {code: n for code, n in statuses.items() if code not in (OK, *REFUSED)}
    failed = sum(count for status, count in other.items() if status >= 500)
    odd = sum(count for status, count in other.items() if status < 500)
    return [
        at_most(0, "requests answered 5xx, refusals apart", failed),
        at_most(0, "requests answered otherwise than 200 or refused", odd),
        at_most(0, "connections reset", sum(each.resets for each in windows)),
        at_most(0, "answers with a wrong value", sum(each.wrong for each in windows)),
    ]


def _tail(workload: Workload) -> Key:
    return Key(workload.name, "tail", TAIL_PERCENT, TANDEM)


def _known(measured: float | None) -> float:
    # A missing measurement misses its target.
    return nan if measured is None else measured
