"""Permissions and memory limits of compilation, ahead of time and on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from inference.backend import tf, tf1
from service.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a graph that prints its input."""
    path = tmp_path_factory.mktemp("permissions") / "telling.pb"

    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None], name="x")
        told = tf.raw_ops.Print(input=x, data=[x], message="told")
        tf.multiply(told, 2.0, name="y")

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def compile_to(folder: Path, model: Path, *args: str, **env: str) -> Result:
    command = ["compile", str(model), "--output", str(folder), *args]
    return CliRunner().invoke(main, command, env=env)


def test_an_operation_must_be_allowed_to_compile_or_inspect(
    model: Path, tmp_path: Path
) -> None:
    refused = compile_to(tmp_path, model)
    allowed = compile_to(tmp_path, model, "--allow-ops", "Abort,Print")
    again = compile_to(tmp_path, model, TANDEM_ALLOW_OPS="Print, Abort")
    inspect = ["inspect", str(model), "--cache-dir", str(tmp_path)]
    shown = CliRunner().invoke(main, [*inspect, "--allow-ops", "Print,Abort"])

    assert refused.exit_code == 1
    assert "Print" in refused.output
    assert "--allow-ops" in refused.output
    assert (allowed.exit_code, again.exit_code) == (0, 0), allowed.output
    assert "telling: compiled," in allowed.output
    assert "telling: already there," in again.output
    assert (shown.exit_code, "curl" in shown.output) == (0, True)


def test_memory_is_limited(model: Path, tmp_path: Path) -> None:
    result = compile_to(tmp_path, model, "--compile-memory", "100MiB")

    assert result.exit_code == 1
    assert "more than the 100.0 MiB of memory" in result.output
    assert "--compile-memory" in result.output
