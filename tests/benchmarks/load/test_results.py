"""Tables, figures and plots, from results that were made up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from benchmarks.load.__main__ import main
from benchmarks.load.figures import targets
from benchmarks.load.pages import write_page
from benchmarks.load.results import Key, read_results
from benchmarks.load.tables import tables
from benchmarks.load.workloads import DENSE
from tests.benchmarks.load.made_up import results

if TYPE_CHECKING:
    from pathlib import Path

KEY = Key(workload=DENSE.name, kind="closed", level=32, server="tandem")


def test_results_survive_their_file(tmp_path: Path) -> None:
    made = results()
    made.write(tmp_path)
    read = read_results(tmp_path)

    assert [point.key for point in read.points] == [point.key for point in made.points]
    assert read.median(KEY, "p99") == made.median(KEY, "p99")
    assert read.limits == made.limits


def test_rounds_have_a_median() -> None:
    made = results()
    [point] = made.found(KEY)

    for rate in (1.0, 10_000.0):
        figures = replace(point.figures, throughput=rate)
        made.points.append(replace(point, figures=figures))

    assert made.median(KEY, "throughput") == point.figures.throughput


def test_all_figures_are_reached_in_what_was_made_up() -> None:
    found = targets(results())
    assert [str(target) for target in found if not target.met] == []
    assert len(found) == 23


def test_a_missing_figure_is_a_missed_one() -> None:
    made = results()
    made.points = [point for point in made.points if point.key != KEY]
    assert any("over bound's: nan" in str(target) for target in targets(made))


def test_an_absent_peer_sets_no_target() -> None:
    made = results()
    made.points = [point for point in made.points if point.key.server != "triton"]
    assert not any("triton" in target.name for target in targets(made))


@pytest.mark.parametrize("status", ["500", "504"])
def test_a_failure_of_ours_is_a_missed_figure(status: str) -> None:
    made = results()
    [point] = made.found(KEY)
    failed = replace(point.figures, statuses={"200": 1, status: 1})
    made.points.append(replace(point, figures=failed))

    missed = [target.name for target in targets(made) if not target.met]
    assert missed == ["requests answered 5xx, refusals apart"]


def test_a_rate_beyond_the_generator_is_marked() -> None:
    made = results()
    key = replace(KEY, kind="overload", level=10)
    [point] = made.found(key)
    made.points.remove(point)
    made.points.append(replace(point, asked=(point.asked or 0) / 2))

    [overload] = [table for table in tables(made) if table.title.startswith("Overload")]
    marked = [row[0] for row in overload.rows if "†" in row[0]]
    assert marked == ["dense, tandem, 5×†"]


def test_a_page_has_every_table_and_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = results()
    write_page(made, tmp_path)
    page = (tmp_path / "README.md").read_text()

    for table in tables(made):
        assert f"## {table.title}" in page

    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "goodput.png",
        "latency.png",
        "mobilenet.png",
        "throughput.png",
    ]


def test_a_page_is_drawn_again_without_measuring(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results().write(tmp_path)
    done = CliRunner().invoke(main, ["--redraw", "--output", str(tmp_path)])

    assert done.exit_code == 0, done.output
    assert "| tandem " in done.output
    assert (tmp_path / "README.md").is_file()


def test_an_unknown_name_is_refused() -> None:
    done = CliRunner().invoke(main, ["--peers", "triton,nobody"])
    assert done.exit_code == 2
    assert "nobody: choose from" in done.output
