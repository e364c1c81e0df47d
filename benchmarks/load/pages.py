"""Writes a run's page: tables, plots and the figures to reach, in Markdown."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks.load.figures import targets
from benchmarks.load.tables import number, significant, tables
from benchmarks.report import table_lines

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.load.results import Results
    from benchmarks.load.tables import Table
    from benchmarks.report import Target

PAGE = "README.md"
INTRODUCTION = """\
# Under load, side by side

Written by `python -m benchmarks.load`; `benchmarks/README.md` says how to run it and
how to read it. All figures of this page are of one run. Compare ratios: seconds are
those of one machine on one day."""


def write_page(results: Results, folder: Path) -> None:
    """The page and its plots, into `folder`; no plots where matplotlib is absent."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _plots(results, folder)
    parts = [
        INTRODUCTION,
        _about(results),
        *_figures(targets(results)),
        *(f"![{text}]({name})" for name, text in drawn.items()),
        *(_section(table) for table in tables(results)),
    ]
    (folder / PAGE).write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def print_results(results: Results) -> None:
    """The tables, as text."""
    for table in tables(results):
        print(f"\n{_section(table)}", flush=True)


def _plots(results: Results, folder: Path) -> dict[str, str]:
    if find_spec("matplotlib") is None:
        print("No plots: matplotlib is absent. Install the extra `bench`.")
        return {}

    from benchmarks.load.plots import draw_all

    return draw_all(results, folder)


def _about(results: Results) -> str:
    lines = [f"- {name}: {text}" for name, text in results.about.items()]
    versions = ", ".join(f"{name} {text}" for name, text in results.versions.items())

    if versions:
        lines.append(f"- peers: {versions}")

    if results.generator_rate is not None:
        lines.append(
            f"- generator: {number(results.generator_rate)} requests a second of the "
            "dense model's size, against a server that does nothing but answer"
        )

    lines += [f"- {note}" for note in results.notes]
    return "\n".join(lines)


def _figures(found: list[Target]) -> list[str]:
    rows = [
        (
            target.name,
            f"{target.kind} {significant(target.limit)}",
            f"{target.figure:.4g}",
            "PASS" if target.met else "FAIL",
        )
        for target in found
    ]
    columns = ("figure", "limit", "measured", "verdict")
    return ["## Figures to reach", "\n".join(table_lines(columns, rows))]


def _section(table: Table) -> str:
    lines = [f"## {table.title}", "", *table_lines(table.columns, table.rows)]
    return "\n".join([*lines, "", table.note] if table.note else lines)
