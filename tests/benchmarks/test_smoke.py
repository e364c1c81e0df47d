"""The benchmarks run: their figures are for a quiet machine, not for a test."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from benchmarks import budget, calls, cycles, memory, reload, soak
from benchmarks.load import __main__ as load

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_the_soak_gets_right_answers() -> None:
    arguments = ["--requests", "600", "--connections", "8"]
    result = CliRunner().invoke(soak.main, arguments)

    assert result.exit_code == 0, result.output
    assert [line[:4] for line in result.output.splitlines()[-7:]] == ["PASS"] * 7


@linux
def test_cycles_end_and_a_leak_is_seen(tmp_path: Path) -> None:
    [samples] = cycles.measure(tmp_path, 32, {"its session": 12}).values()
    warm = cycles.warm(samples)

    assert len(samples) == 12
    assert warm[-1].threads > warm[0].threads


@pytest.mark.parametrize("module", [budget, calls, cycles, load, memory, reload])
def test_the_others_have_a_command_line(module: object) -> None:
    result = CliRunner().invoke(module.main, ["--help"])  # type: ignore[attr-defined]
    assert result.exit_code == 0
