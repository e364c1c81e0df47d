"""The benchmarks run: their figures are for a quiet machine, not for a test."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner

from benchmarks import calls, memory, soak
from benchmarks.load import __main__ as load

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
def test_the_soak_gets_right_answers() -> None:
    arguments = ["--requests", "600", "--connections", "8"]
    result = CliRunner().invoke(soak.main, arguments)

    assert result.exit_code == 0, result.output
    assert [line[:4] for line in result.output.splitlines()[-7:]] == ["PASS"] * 7


@pytest.mark.parametrize("module", [calls, memory, load])
def test_the_others_have_a_command_line(module: object) -> None:
    result = CliRunner().invoke(module.main, ["--help"])  # type: ignore[attr-defined]
    assert result.exit_code == 0
