"""Figures against their targets, and tables: printed, as a page, or as JSON."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable

from inference import available_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PACKAGES = (
    *("tensorflow", "keras", "numpy", "uvicorn", "flask", "uvloop", "httptools"),
    *("pysimdjson", "orjson", "anyio"),
)
COLUMNS = ("figure", "target", "measured", "verdict")
LOG_WIDTH = 120
STYLES = {"PASS": "green", "MISS": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A measurement that must be at least or at most its target.

    A missing measurement is NaN, which misses every target.
    """

    name: str
    target: float
    compared: Literal["at least", "at most"]
    measured: float

    @property
    def passed(self) -> bool:
        if self.compared == "at least":
            return self.measured >= self.target

        return self.measured <= self.target

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Name, target, measurement and verdict, as text."""
        verdict = "PASS" if self.passed else "MISS"
        target = f"{self.compared} {self.target:.4g}"
        return self.name, target, f"{self.measured:.4g}", verdict


def at_least(target: float, name: str, measured: float) -> Figure:
    return Figure(name=name, target=target, compared="at least", measured=measured)


def at_most(target: float, name: str, measured: float) -> Figure:
    return Figure(name=name, target=target, compared="at most", measured=measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells, of which numbers are shown to three digits; `note` goes below."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    note: str = ""

    def markdown(self) -> str:
        rows = [[*map(_shown, row)] for row in self.rows]
        lines = [f"## {self.title}", "", *table_lines(self.columns, rows)]
        return "\n".join([*lines, "", self.note] if self.note else lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One benchmark's outcome.

    The introduction is the benchmark's docstring, unless there is another. `notes` are
    for readers, such as a peer that was absent; `raw` holds dataclasses with everything
    that was measured; `draw` writes pictures into a folder and returns what each shows,
    by file name; `about` says when, where and with what it ran.
    """

    title: str
    figures: Sequence[Figure]
    tables: Sequence[Table]
    introduction: str = ""
    notes: Sequence[str] = ()
    raw: Sequence[Any] = ()
    draw: Callable[[Path], dict[str, str]] | None = None
    about: Mapping[str, str] = field(default_factory=dict)

    def publish(self, page: Path) -> None:
        """Write the page, and its pictures beside it."""
        page.parent.mkdir(parents=True, exist_ok=True)
        drawn = self.draw(page.parent) if self.draw is not None else {}
        pictures = [f"![{text}]({name})" for name, text in drawn.items()]
        page.write_text(self._markdown(pictures), encoding="utf-8")

    def save(self, path: Path) -> None:
        """Write everything that was measured as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {
            "about": dict(self.about),
            "notes": list(self.notes),
            "figures": [asdict(each) for each in self.figures],
            "tables": [asdict(each) for each in self.tables],
            "raw": [asdict(each) for each in self.raw],
        }
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def _markdown(self, pictures: Sequence[str]) -> str:
        about = [f"- {name}: {text}" for name, text in self.about.items()]
        figures = Table(
            title="Figures to reach",
            columns=COLUMNS,
            rows=[each.cells for each in self.figures],
        )
        parts = [
            f"# {self.title}",
            self.introduction,
            "\n".join([*about, *(f"- {note}" for note in self.notes)]),
            figures.markdown(),
            *pictures,
            *(each.markdown() for each in self.tables),
        ]
        return "\n\n".join(parts) + "\n"


def print_figures(reports: Sequence[Report], console: Console | None = None) -> None:
    """Print one table of all figures, a section for each report."""
    table = RichTable(*COLUMNS, box=box.SIMPLE_HEAD)

    for column in table.columns[1:3]:
        column.justify = "right"

    for report in reports:
        table.add_row(f"[bold]{report.title}")

        for each in report.figures:
            *cells, verdict = each.cells
            table.add_row(*cells, f"[{STYLES[verdict]}]{verdict}")

        table.add_section()

    # A log has no width of its own.
    width = None if sys.stdout.isatty() else LOG_WIDTH
    (console or Console(width=width)).print(table)


def about_run() -> dict[str, str]:
    """Describe when, where and with what something is measured now."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{available_cpus()} CPUs ({_processor()}), load {load:.2f} at the "
        f"start, {platform.system()} {platform.release()}",
        "versions": f"Python {platform.python_version()}, {versions}",
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
    }


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table, readable as it stands; the first column is text."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    rule = [
        "-" * width if position == 0 else "-" * (width - 1) + ":"
        for position, width in enumerate(widths)
    ]
    return [_line(cells, widths) for cells in (columns, rule, *rows)]


def _shown(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell

    whole = float(cell).is_integer() or abs(cell) >= 1000
    return f"{cell:,.0f}" if whole else f"{cell:.3g}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return f"| {' | '.join(aligned)} |"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
