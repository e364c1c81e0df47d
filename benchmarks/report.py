"""What a benchmark prints: the machine, tables in Markdown, a verdict per target."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from inference import available_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

PACKAGES = ("tensorflow", "keras", "numpy", "uvicorn", "flask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A figure and the limit that it must keep to."""

    name: str
    figure: float
    kind: Literal["at least", "at most"]
    limit: float

    @property
    def met(self) -> bool:
        if self.kind == "at least":
            return self.figure >= self.limit

        return self.figure <= self.limit

    def __str__(self) -> str:
        verdict = "PASS" if self.met else "FAIL"
        figure = f"{self.figure:.4g}"
        return f"{verdict}  {self.name}: {figure} ({self.kind} {self.limit:g})"


def at_least(limit: float, name: str, figure: float) -> Target:
    return Target(name=name, figure=figure, kind="at least", limit=limit)


def at_most(limit: float, name: str, figure: float) -> Target:
    return Target(name=name, figure=figure, kind="at most", limit=limit)


def about_machine(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """When, where and with what something is measured now."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    load = os.getloadavg()[0]
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{available_cpus()} CPUs ({_processor()}), load {load:.2f} at the "
        f"start, {platform.system()} {platform.release()}",
        "versions": f"Python {platform.python_version()}, {versions}",
        "command": shlex.join(["python", "-m", _module(), *sys.argv[1:]]),
    }


def print_machine() -> None:
    """The same, printed above the figures."""
    for name, text in about_machine().items():
        print(f"{name}: {text}", flush=True)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """A Markdown table under its title."""
    print(f"\n{title}\n")
    print("\n".join(table_lines(columns, rows)), flush=True)


def table_lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, readable as it stands; the first column is text."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    rule = [
        "-" * width if position == 0 else "-" * (width - 1) + ":"
        for position, width in enumerate(widths)
    ]
    return [_line(cells, widths) for cells in (columns, rule, *rows)]


def conclude(targets: Sequence[Target]) -> int:
    """Print each target's verdict; the exit status, 1 where one was missed."""
    print()

    for target in targets:
        print(target)

    return 0 if all(target.met for target in targets) else 1


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return f"| {' | '.join(aligned)} |"


def _module() -> str:
    path = Path(sys.argv[0]).with_suffix("")
    parts = path.parts[-2:] if path.name != "__main__" else path.parts[-3:-1]
    return ".".join(parts)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
