"""Tables, figures and plots, from results that were made up."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from benchmarks.load import campaign
from benchmarks.load.campaign import report_of
from benchmarks.load.contenders import NAMES
from benchmarks.load.results import Key
from benchmarks.load.tables import tables
from benchmarks.load.targets import figures
from benchmarks.load.workloads import DENSE
from tests.benchmarks.load.made_up import results

if TYPE_CHECKING:
    from pathlib import Path

KEY = Key(DENSE.name, "closed", 32, "tandem")


def test_results_are_saved_as_json(tmp_path: Path) -> None:
    made = results()
    report_of(made, []).save(tmp_path / "load.json")
    [raw] = json.loads((tmp_path / "load.json").read_text())["raw"]

    assert [tuple(point["key"]) for point in raw["points"]] == [
        point.key for point in made.points
    ]
    assert raw["limits"]["mobilenet"] == {"8": [60.0]}


def test_rounds_have_a_median() -> None:
    made = results()
    [point] = made.found(KEY)

    for rate in (1.0, 10_000.0):
        window = replace(point.window, throughput=rate)
        made.points.append(replace(point, window=window))

    assert made.median(KEY, "throughput") == point.window.throughput


def test_all_figures_are_reached_in_the_made_up_results() -> None:
    found = figures(results())
    assert [figure.name for figure in found if not figure.passed] == []
    assert len(found) == 23


def test_a_missing_measurement_misses_its_target() -> None:
    made = results()
    made.points = [point for point in made.points if point.key != KEY]
    missed = [figure.name for figure in figures(made) if not figure.passed]
    assert any("over bound's" in name for name in missed)


def test_an_absent_peer_sets_no_target() -> None:
    made = results()
    made.points = [point for point in made.points if point.key.server != "triton"]
    assert not any("triton" in figure.name for figure in figures(made))


@pytest.mark.parametrize("status", [500, 504])
def test_a_failure_of_ours_misses_its_target(status: int) -> None:
    made = results()
    [point] = made.found(KEY)
    failed = replace(point.window, statuses={200: 1, status: 1})
    made.points.append(replace(point, window=failed))

    missed = [figure.name for figure in figures(made) if not figure.passed]
    assert missed == ["requests answered 5xx, refusals apart"]


def test_ours_are_shown_first() -> None:
    assert results().servers(DENSE.name, "closed") == list(NAMES)


def test_a_rate_beyond_the_generator_is_marked() -> None:
    made = results()
    key = KEY._replace(kind="overload", level=10)
    [point] = made.found(key)
    made.points.remove(point)
    made.points.append(replace(point, asked=(point.asked or 0) / 2))

    [overload] = [table for table in tables(made) if table.title.startswith("Overload")]
    marked = [row[0] for row in overload.rows if "†" in str(row[0])]
    assert marked == ["dense, tandem, 5×†"]


def test_a_page_has_every_table_and_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    made = results()
    report_of(made, []).publish(tmp_path / "README.md")
    page = (tmp_path / "README.md").read_text()

    for table in tables(made):
        assert f"## {table.title}" in page

    assert sorted(path.name for path in tmp_path.glob("*.png")) == [
        "goodput.png",
        "latency.png",
        "mobilenet.png",
        "throughput.png",
    ]


def test_a_page_without_matplotlib_has_no_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign, "find_spec", lambda name: None)
    report_of(results(), []).publish(tmp_path / "README.md")

    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert "![" not in (tmp_path / "README.md").read_text()


def test_every_server_has_a_colour() -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.load.plots import COLOURS

    assert set(COLOURS) == set(NAMES)
