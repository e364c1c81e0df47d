"""The results as tables."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks.harness.recording import OK, REFUSED
from benchmarks.harness.report import Table
from benchmarks.load.contenders import TANDEM
from benchmarks.load.results import Key, ratio, standard
from benchmarks.load.targets import beside
from benchmarks.load.workloads import (
    BOUND_SECONDS,
    FAIRNESS,
    OVERLOADS,
    PAIR,
    SIZES,
    TAILS,
    WORKLOADS,
)

if TYPE_CHECKING:
    from benchmarks.load.results import Point, Results
    from benchmarks.load.workloads import Workload

NOTHING = "–"
REACHED = 0.95
"""A rate that is less of the one that was meant is marked."""
LATE_MS = 10.0


def tables(results: Results) -> list[Table]:
    """Return all tables that have rows."""
    found = [
        *(_throughput(results, workload) for workload in WORKLOADS),
        _limits(results),
        _tails(results),
        _overloads(results),
        _pairs(results),
        _fairness(results),
    ]
    return [table for table in found if table.rows]


def number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.0f}"


def significant(value: float | None) -> str:
    """Write three digits, however large or small."""
    if value is None or abs(value) >= 100:
        return number(value)

    return f"{value:.3g}"


def _throughput(results: Results, workload: Workload) -> Table:
    ours = results.median(standard(workload, TANDEM), "throughput")
    rows = []

    for server in results.servers(workload.name, "closed"):
        key = standard(workload, server)
        rates = [
            results.median(key._replace(level=connections), "throughput")
            for connections in workload.connections
        ]
        rows.append(
            (
                server,
                *map(significant, rates),
                significant(results.median(key, "p50")),
                significant(results.median(key, "p99")),
                number(results.cpu_us(key)),
                significant(ratio(ours, results.median(key, "throughput"))),
            )
        )

    at = f"at {workload.standard}"
    columns = (
        "server",
        *(f"{connections} conn., req/s" for connections in workload.connections),
        *(f"p50 ms {at}", f"p99 ms {at}", f"CPU µs/req {at}", f"{TANDEM} is × {at}"),
    )
    title = f"Throughput, closed loop: {workload.title}"
    return Table(title=title, columns=columns, rows=rows)


def _limits(results: Results) -> Table:
    rows = []

    for model, sizes in results.limits.items():
        medians = {size: statistics.median(rates) for size, rates in sizes.items()}
        best = max(medians, key=lambda size: medians[size])
        cells = [number(medians.get(size)) for size in SIZES]
        rows.append((model, *cells, str(best)))

    return Table(
        title="In-process limit: rows a second by size of batch, one thread",
        columns=("model", *map(str, SIZES), "best"),
        rows=rows,
    )


def _tails(results: Results) -> Table:
    keys = [
        Key(workload.name, "tail", percent, server)
        for workload in WORKLOADS
        for server in results.servers(workload.name, "tail")
        for percent in TAILS
    ]
    columns = (
        *("of capacity", "req/s", "p50 ms", "p90", "p99", "p99.9", "p99/p50"),
        "generator late, p99 ms",
    )
    return Table(
        title="Latencies at fixed rates, Poisson arrivals, from the intended start",
        columns=columns,
        rows=[_tail(results, key) for key in keys],
    )


def _tail(results: Results, key: Key) -> tuple[str, ...]:
    names = ("p50", "p90", "p99", "p999")
    times = [results.median(key, name) for name in names]
    return (
        f"{key.workload}, {key.server}, {key.level} %",
        significant(results.median(key, "offered")),
        *map(significant, times),
        significant(ratio(times[2], times[0])),
        significant(results.median(key, "late_p99")),
    )


def _overloads(results: Results) -> Table:
    rows = [
        _overload(results, point)
        for workload in WORKLOADS
        for server in results.servers(workload.name, "overload")
        for times in OVERLOADS
        for point in results.found(Key(workload.name, "overload", times, server))
    ]
    columns = (
        *("times capacity", "asked req/s", "sent", "goodput", "of peak", "p99 ms"),
        *("refused", "p99 ms", "other", "resets", "unanswered", "dropped"),
    )
    note = (
        f"Goodput: answers with 200 within {BOUND_SECONDS:g} s of their intended "
        "start. “Sent” is how many a second found one of the 1,024 connections free; "
        "the others were dropped by the generator. "
        "†: more than the generator can send; what it can was asked instead. "
        f"‡: the generator itself ran late, by more than {LATE_MS:g} ms for one "
        "request in a hundred."
    )
    return Table(title="Overload, open loop", columns=columns, rows=rows, note=note)


def _overload(results: Results, point: Point) -> tuple[str, ...]:
    key, found = point.key, point.window
    peak = results.capacity(key.workload, key.server)
    refused = sum(found.statuses.get(status, 0) for status in REFUSED)
    other = sum(found.statuses.values()) - refused - found.statuses.get(OK, 0)
    times = results.times(point) or 0.0
    capped = "†" if times < REACHED * key.level else ""
    late = "‡" if (found.late_p99 or 0) > LATE_MS else ""
    return (
        f"{key.workload}, {key.server}, {times:.3g}×{capped}{late}",
        significant(point.asked),
        significant(found.sent),
        significant(found.goodput),
        significant(ratio(found.goodput, peak)),
        significant(found.p99),
        number(refused),
        significant(found.refusal_p99),
        number(other),
        number(found.resets),
        number(found.unanswered),
        number(found.dropped),
    )


def _pairs(results: Results) -> Table:
    rows = []

    for key in results.keys(PAIR, "together"):
        alone = results.median(key._replace(kind="alone"), "throughput")
        both = results.median(key, "throughput")
        share = significant(ratio(both, alone))
        rows.append((key.stream, significant(alone), significant(both), share))

    return Table(
        title="`.h5` and `.pb` at once, each by half of the connections",
        columns=("model", "alone, req/s", "both at once, req/s", "share of alone"),
        rows=rows,
        note="The shares of one pair sum to 1 where serving two models costs nothing.",
    )


def _fairness(results: Results) -> Table:
    keys = [*results.keys(FAIRNESS, "alone"), *results.keys(FAIRNESS, "together")]
    names = ("throughput", "p50", "p99", "p999")
    rows = [
        (
            f"{key.stream}, {key.kind}",
            *(significant(results.median(key, name)) for name in names),
        )
        for key in keys
    ]
    times = significant(beside(results))
    return Table(
        title="A light `.pb` beside a heavy `.h5` that is saturated",
        columns=("stream", "req/s", "p50 ms", "p99", "p99.9"),
        rows=rows,
        note=f"The light model's p99 beside the heavy one is {times} times that alone.",
    )
