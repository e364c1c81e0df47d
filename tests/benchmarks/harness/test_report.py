from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from benchmarks.harness.report import (
    Figure,
    Report,
    Table,
    at_least,
    at_most,
    print_figures,
    table_lines,
)

if TYPE_CHECKING:
    from pathlib import Path

MET, MISSED = at_least(2, "speed", 3.0), at_most(0, "failures", 4)


def report(**changes: object) -> Report:
    given = {
        "title": "Calls",
        "introduction": "Microseconds a call.",
        "figures": [MET, MISSED],
        "tables": [Table(title="Times", columns=("who", "s"), rows=[("we", "1")])],
        "notes": ["nothing else ran"],
        **changes,
    }
    return Report(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("figure", "passed"),
    [
        pytest.param(at_least(2, "speed", 2.0), True, id="least-equal"),
        pytest.param(at_least(2, "speed", 1.9), False, id="least-below"),
        pytest.param(at_most(0, "failures", 0), True, id="most-equal"),
        pytest.param(at_most(0, "failures", 1), False, id="most-above"),
        pytest.param(at_most(1, "ratio", float("nan")), False, id="not-a-number"),
    ],
)
def test_a_figure_passes_within_its_target(figure: Figure, passed: bool) -> None:
    assert figure.passed is passed
    assert figure.cells[-1] == ("PASS" if passed else "MISS")


def test_figures_are_printed_beside_their_targets() -> None:
    text = io.StringIO()
    print_figures([report()], Console(file=text, width=80))
    lines = [line.split() for line in text.getvalue().splitlines() if line.strip()]

    assert lines[0] == ["figure", "target", "measured", "verdict"]
    assert ["speed", "at", "least", "2", "3", "PASS"] in lines
    assert ["failures", "at", "most", "0", "4", "MISS"] in lines


def test_a_page_has_figures_pictures_and_tables(tmp_path: Path) -> None:
    made = report(
        about={"date": "2030-01-01"}, draw=lambda folder: {"times.png": "times"}
    )
    made.publish(tmp_path / "calls.md")
    page = (tmp_path / "calls.md").read_text()

    assert page.startswith("# Calls\n\nMicroseconds a call.\n\n- date: 2030-01-01\n")
    assert "- nothing else ran\n\n## Figures to reach\n" in page
    assert "| failures |  at most 0 |        4 |    MISS |" in page
    assert page.index("![times](times.png)") < page.index("## Times")


def test_everything_that_was_measured_is_saved(tmp_path: Path) -> None:
    report(raw=[MET]).save(tmp_path / "results" / "calls.json")
    saved = json.loads((tmp_path / "results" / "calls.json").read_text())

    assert [each["measured"] for each in saved["figures"]] == [3.0, 4]
    assert saved["tables"][0]["rows"] == [["we", "1"]]
    assert saved["raw"][0]["name"] == "speed"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        pytest.param("as it is", "as it is", id="text"),
        pytest.param(12345, "12,345", id="count"),
        pytest.param(2.0, "2", id="whole"),
        pytest.param(0.012345, "0.0123", id="three-digits"),
        pytest.param(-12345.6, "-12,346", id="large"),
        pytest.param(float("nan"), "nan", id="missing"),
    ],
)
def test_a_cell_is_text_or_a_number_of_three_digits(
    cell: str | float, shown: str
) -> None:
    table = Table(title="Cells", columns=("one",), rows=[(cell,)])
    assert table.markdown().splitlines()[-1].strip("| ") == shown


def test_a_table_is_markdown() -> None:
    assert table_lines(("name", "s"), [("one", "1.5"), ("longer", "20.25")]) == [
        "| name   |     s |",
        "| ------ | ----: |",
        "| one    |   1.5 |",
        "| longer | 20.25 |",
    ]
