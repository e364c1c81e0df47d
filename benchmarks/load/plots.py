"""The results as pictures."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.load.campaign import order
from benchmarks.load.figures import standard
from benchmarks.load.plot_style import (
    COLOURS,
    INK,
    SHADES,
    STYLE,
    line,
    name_ends,
    round_ticks,
)
from benchmarks.load.results import Key
from benchmarks.load.servers import TANDEM
from benchmarks.load.workloads import (
    BOUND_SECONDS,
    DENSE,
    MOBILENET,
    MOBILENET_8,
    OVERLOADS,
    TAILS,
    WORKLOADS,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.load.results import Results
    from benchmarks.load.workloads import Workload

PERCENTILES = {"p50": "50", "p90": "90", "p99": "99", "p999": "99.9"}
WIDTH, HEIGHT = 5.2, 4.4
"""Inches of a panel."""


def draw_all(results: Results, folder: Path) -> dict[str, str]:
    """Write every plot that has data; names of the files, and what each shows."""
    drawn = {}

    with mpl.rc_context(STYLE):
        for name, (draw, text) in PLOTS.items():
            figure = draw(results)

            if figure is not None:
                figure.savefig(folder / name, bbox_inches="tight")
                plt.close(figure)
                drawn[name] = text

    return drawn


def throughput(results: Results) -> Figure | None:
    """Answers a second by connections, a line per server."""
    names = order(results.servers(DENSE.name, "closed"))

    if not names:
        return None

    figure: Figure
    figure, axes = plt.subplots(figsize=(8.4, 4.8))
    ends = {}

    for name in names:
        rates = [
            results.median(_closed(DENSE, name, connections), "throughput") or nan
            for connections in DENSE.connections
        ]
        axes.plot(DENSE.connections, rates, **line(name))
        ends[name] = rates[-1]

    axes.set(xscale="log", yscale="log", xlabel="connections")
    axes.set_title(f"Answers a second: {DENSE.title}, JSON, one core")
    axes.set_xticks(DENSE.connections, [str(each) for each in DENSE.connections])
    round_ticks(axes)
    name_ends(axes, DENSE.connections[-1], ends)
    return figure


def mobilenet(results: Results) -> Figure | None:
    """Rows a second of the large model, a bar per server."""
    workloads = [
        workload
        for workload in (MOBILENET, MOBILENET_8)
        if results.servers(workload.name, "closed")
    ]

    if not workloads:
        return None

    figure, drawn = _panels(workloads)

    for axes, workload in zip(drawn, workloads, strict=True):
        _bars(axes, results, workload)

    figure.tight_layout(w_pad=3)
    return figure


def latency(results: Results) -> Figure | None:
    """Percentiles of latency at fixed rates, ours and the bound."""
    panels = _opened(results, "tail")

    if not panels:
        return None

    figure, drawn = _panels(panels)

    for axes, workload in zip(drawn, panels, strict=True):
        for server in order(results.servers(workload.name, "tail")):
            for percent in TAILS:
                _percentiles(axes, results, workload, server, percent)

        axes.set(yscale="log", xlabel="percentile", ylabel="ms from intended start")
        axes.set_title(workload.title)
        round_ticks(axes)

    drawn[0].legend(fontsize=8.5, loc="upper left")
    figure.tight_layout(w_pad=3)
    return figure


def goodput(results: Results) -> Figure | None:
    """Answers in time against the rate asked for, in units of each one's capacity."""
    panels = _opened(results, "overload")

    if not panels:
        return None

    figure, drawn = _panels(panels)

    for axes, workload in zip(drawn, panels, strict=True):
        _goodput(axes, results, workload)

    drawn[0].legend(fontsize=9, loc="upper left", ncols=3)
    figure.tight_layout(w_pad=3)
    return figure


PLOTS = {
    "throughput.png": (throughput, "answers a second by connections"),
    "mobilenet.png": (mobilenet, "rows a second of the large model"),
    "latency.png": (latency, "percentiles of latency at fixed rates"),
    "goodput.png": (goodput, "answers in time against the rate asked for"),
}


def _panels(workloads: list[Workload]) -> tuple[Figure, list[Axes]]:
    count = len(workloads)
    figure, drawn = plt.subplots(
        1, count, figsize=(WIDTH * count, HEIGHT), squeeze=False
    )
    return figure, list(drawn[0])


def _bars(axes: Axes, results: Results, workload: Workload) -> None:
    names = order(results.servers(workload.name, "closed"))[::-1]
    rates = [
        (results.median(standard(workload, name), "throughput") or 0) * workload.rows
        for name in names
    ]
    bars = axes.barh(names, rates, color=[COLOURS[name] for name in names], height=0.62)
    axes.bar_label(
        bars,
        [f"{rate:,.1f}" for rate in rates],
        padding=4,
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        zorder=4,
    )
    limit = results.limit(workload.model)

    if limit is not None:
        axes.axvline(limit, color=INK, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.annotate(
            f"in process: {limit:,.0f}",
            (limit, 1),
            (-4, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            horizontalalignment="right",
            fontsize=8.5,
        )

    axes.set_xlim(0, max([*rates, limit or 0]) * 1.12)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("rows a second")
    axes.set_title(workload.title, pad=16)


def _percentiles(
    axes: Axes, results: Results, workload: Workload, server: str, percent: int
) -> None:
    key = Key(workload=workload.name, kind="tail", level=percent, server=server)
    times = [results.median(key, name) or nan for name in PERCENTILES]

    ours = server == TANDEM
    axes.plot(
        list(PERCENTILES.values()),
        times,
        color=SHADES[percent] if ours else COLOURS[server],
        alpha=1 if ours else 0.35 + percent / 200,
        linestyle="-" if ours else (0, (4, 2)),
        marker="o",
        markersize=4.5,
        linewidth=2 if ours else 1.3,
        label=f"{server}, {percent} %",
    )


def _goodput(axes: Axes, results: Results, workload: Workload) -> None:
    marks = [*(percent / 100 for percent in TAILS[:-1]), 1, *OVERLOADS]
    ideal = np.geomspace(marks[0], marks[-1], 200)
    axes.plot(
        ideal,
        np.minimum(ideal, 1),
        color=INK,
        linestyle=(0, (1, 2)),
        linewidth=1.5,
        label="ideal",
    )

    for server in order(results.servers(workload.name, "overload")):
        points = sorted(_goodputs(results, workload, server))
        axes.plot(*zip(*points, strict=True), label=server, **line(server))

    axes.set(xscale="log", xlabel="asked, times capacity", ylim=(0, 1.3))
    axes.set_xticks(marks, [f"{share:g}" for share in marks])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.minorticks_off()
    axes.set_ylabel(f"answers within {BOUND_SECONDS:g} s, of capacity")
    axes.set_title(workload.title)


def _goodputs(
    results: Results, workload: Workload, server: str
) -> set[tuple[float, float]]:
    """What was asked and what came in time, both in units of the capacity."""
    capacity = results.capacity(workload.name, server) or nan
    keys = [
        point.key
        for point in results.points
        if (point.key.workload, point.key.server) == (workload.name, server)
        and point.key.kind in ("tail", "overload")
    ]
    return {
        (
            results.times(results.found(key)[0]) or nan,
            (results.median(key, "goodput") or 0) / capacity,
        )
        for key in keys
    }


def _opened(results: Results, kind: str) -> list[Workload]:
    found = {point.key.workload for point in results.points if point.key.kind == kind}
    return [workload for workload in WORKLOADS if workload.name in found]


def _closed(workload: Workload, server: str, connections: int) -> Key:
    return Key(workload=workload.name, kind="closed", level=connections, server=server)
