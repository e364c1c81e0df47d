"""How the plots look: colours by server, labels at the ends of lines."""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from benchmarks.load.servers import BOUND, LOGGED, TANDEM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

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
DASHED = {BOUND, LOGGED}
LINE_HEIGHT = 15.0
"""Pixels at matplotlib's own resolution."""
SHADES = {50: "#9ecbe0", 70: "#3d93b8", 90: "#0b4f6e"}
STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa5b1",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.dpi": 130,
}


def line(server: str) -> dict[str, Any]:
    return {
        "color": COLOURS[server],
        "linestyle": (0, (4, 2)) if server in DASHED else "-",
        "linewidth": 2.6 if server == TANDEM else 1.7,
        "marker": "o",
        "markersize": 5,
        "zorder": 3 if server == TANDEM else 2,
    }


def round_ticks(axes: Axes) -> None:
    """Ticks at 1, 2 and 5 of each power of ten."""
    low, high = axes.get_ylim()
    ticks = [step * 10**power for power in range(-2, 6) for step in (1, 2, 5)]
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.set_yticks([tick for tick in ticks if low <= tick <= high])


def name_ends(axes: Axes, x: float, ends: Mapping[str, float]) -> None:
    """Write each server's name at `x`, where its line ends, apart from one another."""
    known = {name: rate for name, rate in ends.items() if isfinite(rate)}
    last = -inf

    for name, rate in sorted(known.items(), key=lambda each: each[1]):
        place = max(axes.transData.transform((1, rate))[1], last + LINE_HEIGHT)
        last = place
        axes.annotate(
            f"{name}  {rate:,.0f}",
            (x, axes.transData.inverted().transform((0, place))[1]),
            (10, 0),
            textcoords="offset points",
            verticalalignment="center",
            color=COLOURS[name],
            fontweight="bold" if name == TANDEM else "normal",
            annotation_clip=False,
        )
