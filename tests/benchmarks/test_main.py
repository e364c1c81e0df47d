"""The benchmarks run: their figures are for a quiet machine, not for a test."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import cycles, soak
from benchmarks.harness.models import Wide
from benchmarks.harness.report import Report, at_least

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness.run import Run

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_the_soak_gets_right_answers(tmp_path: Path) -> None:
    report = soak.soak(tmp_path, requests=600, connections=8)

    assert len(report.figures) == 8
    assert [figure.name for figure in report.figures if not figure.passed] == []


@linux
def test_cycles_end_and_a_leak_is_seen(tmp_path: Path) -> None:
    [samples] = cycles.run_cycles(tmp_path, Wide(32, 1), {"its session": 12}).values()
    warm = cycles.warm(samples)

    assert len(samples) == 12
    assert warm[-1].threads > warm[0].threads


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Run]:
    """Benchmarks that measure 2.0 at once; the runs that they are given."""

    def add(name: str, target: float) -> None:
        def measure(run: Run) -> Report:
            found.append(run)
            figures = [at_least(target, "speed", 2.0)]
            return Report(title=f"at least {target}", figures=figures, tables=[])

        module: Any = ModuleType(f"made_up_{name}", doc="It is measured.")
        module.measure = measure
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(command.BENCHMARKS, name, module.__name__)

    found: list[Run] = []
    monkeypatch.setattr(command, "BENCHMARKS", {})
    add("calls", 1.0)
    add("load", 3.0)
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results")
    return found


@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_every_name_is_a_benchmark(name: str) -> None:
    module = import_module(command.BENCHMARKS[name])
    assert callable(module.measure)
    assert inspect.getdoc(module)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "count"),
    [
        pytest.param(["calls"], 0, 1, id="met"),
        pytest.param(["load"], 1, 1, id="missed"),
        pytest.param(["calls", "load"], 1, 2, id="one-of-two"),
        pytest.param([], 1, 2, id="all"),
    ],
)
def test_a_miss_fails_the_run(
    runs: list[Run], arguments: list[str], exit_code: int, count: int
) -> None:
    result = CliRunner().invoke(command.main, arguments)

    assert result.exit_code == exit_code, result.output
    assert len(runs) == count
    assert result.output.count("speed") == count


def test_pages_and_results_are_written(runs: list[Run], tmp_path: Path) -> None:
    arguments = ["calls", "load", "--quick", "--publish", str(tmp_path / "docs")]
    CliRunner().invoke(command.main, arguments)

    assert all(run.quick for run in runs)
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {
        "README.md",
        "calls.md",
    }
    assert "It is measured." in (tmp_path / "docs" / "calls.md").read_text()
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        "calls.json",
        "load.json",
    }


def test_peers_are_chosen_by_name(runs: list[Run], tmp_path: Path) -> None:
    CliRunner().invoke(command.main, ["load", "--peers", "litserve,flask"])
    assert [run.peers for run in runs] == [("litserve", "flask")]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["--peers", "triton,nobody"], "nobody: choose from", id="peer"),
        pytest.param(["speed"], "'speed' is not one of", id="benchmark"),
    ],
)
def test_an_unknown_name_is_refused(arguments: list[str], text: str) -> None:
    result = CliRunner().invoke(command.main, arguments)

    assert result.exit_code == 2
    assert text in result.output
