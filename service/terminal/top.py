"""The overview of a server as a screen of a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from inference import show_bytes
from service.terminal.tables import STYLES, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import RenderableType

    Entry = Mapping[str, Any]

HEADINGS = (
    *("model", "state", "req/s", "err/s", "p50", "p99", "queue"),
    *("rows", "memory", "used"),
)
UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
HEAD_LINES = 4
"""Lines above the first model, and below the last."""


def top_screen(document: Entry, lines: int | None = None) -> RenderableType:
    """Return what `/v1/overview` tells, in as many `lines` as there are, if limited.

    The busiest models come first.
    """
    rows = sorted(_rows(document), key=_busyness)
    room = len(rows) if lines is None else max(1, lines - HEAD_LINES)
    table = _table([_cells(name, version) for name, version in rows[:room]])
    parts: list[RenderableType] = [_summary(document["server"]), Text(), table]
    if len(rows) > room:
        parts.append(Text(f"and {len(rows) - room} more", style="dim"))

    return Group(*parts)


def _table(rows: list[list[Text]]) -> Table:
    """Return a line for each row: where there is no room, names are cut."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        # A column that may wrap gives way first; a name has nowhere to wrap.
        table.add_column(
            heading,
            no_wrap=heading != HEADINGS[0],
            overflow="ellipsis",
            justify="left" if heading in HEADINGS[:2] else "right",
        )

    for row in rows:
        table.add_row(*row)

    return table


def _rows(document: Entry) -> list[tuple[str, Entry]]:
    several = {
        model["name"]: len(model["versions"]) > 1 for model in document["models"]
    }
    return [
        (f"{name}/{version['version']}" if several[name] else name, version)
        for model in document["models"]
        for name in (model["name"],)
        for version in model["versions"]
    ]


def _busyness(row: tuple[str, Entry]) -> tuple[float, bool, str]:
    name, version = row
    return -version["requests_per_second"], version["error"] is None, name


def _summary(server: Entry) -> Text:
    taken = show_bytes(int(server["memory_bytes"]))
    parts = [
        f"Tandem {server['version']}",
        f"{server['requests_per_second']:,.1f} requests/s",
        f"{server['errors_per_second']:,.1f} errors/s",
        f"p50 {_seconds(server['p50'])}",
        f"p99 {_seconds(server['p99'])}",
        f"{server['waiting']} waiting",
        f"{taken} of {show_bytes(int(server['memory_budget_bytes']))}",
    ]
    if server["draining"]:
        parts.append("draining")

    return Text(printable("   ".join(parts)), style="bold")


def _cells(name: str, version: Entry) -> list[Text]:
    failed = version["error"] is not None
    state = "failed" if failed else version["state"].lower()
    rows, queue = version["batch_rows"], version["waiting"] + version["running"]
    return [
        Text(printable(name)),
        Text(state, style="red" if failed else STYLES.get(version["state"], "")),
        Text(f"{version['requests_per_second']:,.1f}"),
        Text(f"{version['errors_per_second']:,.1f}"),
        Text(_seconds(version["p50"])),
        Text(_seconds(version["p99"])),
        Text(str(queue or "")),
        Text("" if rows is None else f"{rows:.1f}"),
        Text(show_bytes(version["memory_bytes"]) if version["memory_bytes"] else ""),
        Text(_last_use(version["last_used"])),
    ]


def _seconds(value: float | None) -> str:
    """Return a time as `850 µs`, `12.5 ms` or `2.5 s`; `-` where there is none."""
    if value is None:
        return "-"

    if value < 0.001:
        return f"{value * 1e6:.0f} µs"

    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"


def _last_use(moment: float | None) -> str:
    if moment is None:
        return "never"

    # Clocks of two machines differ.
    past = max(0.0, time.time() - moment)
    for unit, seconds in UNITS:
        if past >= seconds:
            return f"{past / seconds:.0f} {unit}"

    return "now"
