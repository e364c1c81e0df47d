"""The pictures of the published page."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

from matplotlib import pyplot as plt

from benchmarks.load.contenders import BOUND, LOGGED, TANDEM
from benchmarks.load.results import Key, standard
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
INK, FAINT = "#22303c", "#d8dee4"
COLOURS = {
    TANDEM: "#0b6e99",
    LOGGED: "#6db3d1",
    BOUND: "#5f6b76",
    "triton": "#5b8c2a",
    "mlserver": "#8a5fbf",
    "litserve": "#d9822b",
    "bentoml": "#c2417c",
    "flask": "#a8853a",
}
STYLE: Any = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "legend.frameon": False,
    "savefig.dpi": 130,
}


def draw_all(results: Results, folder: Path) -> dict[str, str]:
    """Write every plot that has data; return what each shows, by file name."""
    drawn = {}

    with mpl.rc_context(STYLE):
        for name, (draw, text) in PLOTS.items():
            figure = draw(results)

            if figure is not None:
                figure.savefig(folder / name, bbox_inches="tight")
                plt.close(figure)
                drawn[name] = text

    return drawn


def _throughput(results: Results) -> Figure | None:
    """Draw answers a second by connections, a line per server."""
    names = results.servers(DENSE.name, "closed")

    if not names:
        return None

    figure: Figure
    figure, axes = plt.subplots(figsize=(8.4, 4.8))

    for name in names:
        keys = [Key(DENSE.name, "closed", each, name) for each in DENSE.connections]
        rates = [results.median(key, "throughput") or nan for key in keys]
        label = f"{name}  {rates[-1]:,.0f}"
        axes.plot(DENSE.connections, rates, label=label, **_line(name))

    axes.set(xscale="log", yscale="log", xlabel="connections")
    axes.set_title(f"Answers a second: {DENSE.title}, JSON, one core")
    axes.set_xticks(DENSE.connections, [str(each) for each in DENSE.connections])
    _round_ticks(axes)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _mobilenet(results: Results) -> Figure | None:
    """Draw rows a second of the large model, a bar per server."""
    panels = [
        workload
        for workload in (MOBILENET, MOBILENET_8)
        if results.servers(workload.name, "closed")
    ]
    return _panels(results, panels, _bars) if panels else None


def _latency(results: Results) -> Figure | None:
    """Draw percentiles of latency at fixed rates, ours and the bound."""
    panels = [each for each in WORKLOADS if results.servers(each.name, "tail")]

    if not panels:
        return None

    figure = _panels(results, panels, _percentiles)
    figure.axes[0].legend(fontsize=8.5, loc="upper left")
    return figure


def _goodput(results: Results) -> Figure | None:
    """Draw answers in time against the rate asked for, in units of the capacity."""
    panels = [each for each in WORKLOADS if results.servers(each.name, "overload")]

    if not panels:
        return None

    figure = _panels(results, panels, _goodputs)
    figure.axes[0].legend(fontsize=9, loc="upper left", ncols=3)
    return figure


PLOTS = {
    "throughput.png": (_throughput, "answers a second by connections"),
    "mobilenet.png": (_mobilenet, "rows a second of the large model"),
    "latency.png": (_latency, "percentiles of latency at fixed rates"),
    "goodput.png": (_goodput, "answers in time against the rate asked for"),
}


def _panels(results: Results, workloads: list[Workload], draw: Any) -> Figure:
    """Draw a panel per workload, side by side."""
    count = len(workloads)
    figure: Figure
    figure, drawn = plt.subplots(
        1, count, figsize=(WIDTH * count, HEIGHT), squeeze=False
    )

    for axes, workload in zip(drawn[0], workloads, strict=True):
        axes.set_title(workload.title, pad=16)
        draw(axes, results, workload)

    figure.tight_layout(w_pad=3)
    return figure


def _bars(axes: Axes, results: Results, workload: Workload) -> None:
    names = results.servers(workload.name, "closed")[::-1]
    rates = [
        (results.median(standard(workload, name), "throughput") or 0) * workload.rows
        for name in names
    ]
    bars = axes.barh(names, rates, color=[COLOURS[name] for name in names])
    axes.bar_label(bars, [f"{rate:,.1f}" for rate in rates], padding=4, fontsize=9)
    limit = results.limit(workload.model)

    if limit is not None:
        axes.axvline(limit, color=INK, linestyle=(0, (4, 3)))

    axes.set_xlim(0, max([*rates, limit or 0]) * 1.12)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"rows a second (dashed: in process, {limit or nan:,.0f})")


def _percentiles(axes: Axes, results: Results, workload: Workload) -> None:
    for server in results.servers(workload.name, "tail"):
        ours = server == TANDEM

        for percent in TAILS:
            key = Key(workload.name, "tail", percent, server)
            axes.plot(
                list(PERCENTILES.values()),
                [results.median(key, name) or nan for name in PERCENTILES],
                color=COLOURS[server],
                alpha=percent / 100,
                linestyle="-" if ours else (0, (4, 2)),
                marker="o",
                markersize=4.5,
                linewidth=2 if ours else 1.3,
                label=f"{server}, {percent} %",
            )

    axes.set(yscale="log", xlabel="percentile", ylabel="ms from intended start")
    _round_ticks(axes)


def _goodputs(axes: Axes, results: Results, workload: Workload) -> None:
    marks = [*(percent / 100 for percent in TAILS[:-1]), 1, *OVERLOADS]
    ideal = np.geomspace(marks[0], marks[-1], 200)
    dotted: Any = {"color": INK, "linestyle": (0, (1, 2)), "linewidth": 1.5}
    axes.plot(ideal, np.minimum(ideal, 1), label="ideal", **dotted)

    for server in results.servers(workload.name, "overload"):
        capacity = results.capacity(workload.name, server) or nan
        points = {
            (
                results.times(point) or nan,
                (results.median(point.key, "goodput") or 0) / capacity,
            )
            for kind in ("tail", "overload")
            for key in results.keys(workload.name, kind)
            if key.server == server
            for point in results.found(key)[:1]
        }
        axes.plot(*zip(*sorted(points), strict=True), label=server, **_line(server))

    axes.set(xscale="log", xlabel="asked, times capacity", ylim=(0, 1.3))
    axes.set_xticks(marks, [f"{share:g}" for share in marks])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.minorticks_off()
    axes.set_ylabel(f"answers within {BOUND_SECONDS:g} s, of capacity")


def _line(server: str) -> dict[str, Any]:
    ours = server == TANDEM
    return {
        "color": COLOURS[server],
        "linestyle": (0, (4, 2)) if server in (BOUND, LOGGED) else "-",
        "linewidth": 2.6 if ours else 1.7,
        "marker": "o",
        "markersize": 5,
        "zorder": 3 if ours else 2,
    }


def _round_ticks(axes: Axes) -> None:
    """Set ticks at 1, 2 and 5 of each power of ten."""
    low, high = axes.get_ylim()
    ticks = [step * 10**power for power in range(-2, 6) for step in (1, 2, 5)]
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_yticks([tick for tick in ticks if low <= tick <= high])
