from __future__ import annotations

import pytest

from benchmarks.report import Target, at_least, at_most, conclude, print_table


@pytest.mark.parametrize(
    ("target", "met"),
    [
        pytest.param(at_least(2, "speed", 2.0), True, id="least-equal"),
        pytest.param(at_least(2, "speed", 1.9), False, id="least-below"),
        pytest.param(at_most(0, "failures", 0), True, id="most-equal"),
        pytest.param(at_most(0, "failures", 1), False, id="most-above"),
        pytest.param(at_most(1, "ratio", float("nan")), False, id="not-a-number"),
    ],
)
def test_a_target_is_met_within_its_limit(target: Target, met: bool) -> None:
    assert target.met is met


def test_one_missed_target_fails_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude([at_least(2, "speed", 3.0), at_most(0, "failures", 4)]) == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "PASS  speed: 3 (at least 2)",
        "FAIL  failures: 4 (at most 0)",
    ]


def test_all_targets_met_pass_the_run() -> None:
    assert conclude([at_least(2, "speed", 3.0)]) == 0


def test_a_table_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Title", ("name", "s"), [("one", "1.5"), ("longer", "20.25")])
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Title",
        "",
        "| name   |     s |",
        "| ------ | ----: |",
        "| one    |   1.5 |",
        "| longer | 20.25 |",
    ]
