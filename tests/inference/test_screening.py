from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from inference.backend import tf
from inference.errors import InvalidModel
from inference.sidecar import Sidecar
from inference.sources.opening import open_source
from tests.inference.graphs import rows, write_graph

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_run_before_it_was_screened(tmp_path: Path) -> None:
    """Finding out what a graph gives takes running it; this one writes when run."""
    canary = tmp_path / "canary"

    def writes() -> None:
        x = rows("x", 2)

        with tf.control_dependencies([tf.io.write_file(str(canary), "sung")]):
            tf.identity(x, name="y")

    path = write_graph(tmp_path / "model.pb", writes)

    with pytest.raises(InvalidModel, match="WriteFile, which reads or writes files"):
        open_source(path, Sidecar()).__enter__()

    assert not canary.exists()


def test_what_no_output_needs_is_no_reason_to_refuse(tmp_path: Path) -> None:
    def reads_for_nobody() -> None:
        tf.io.read_file(tf.constant("/etc/hostname"), name="unused")
        tf.identity(rows("x", 2), name="y")

    path = write_graph(tmp_path / "model.pb", reads_for_nobody)

    with open_source(path, Sidecar()) as source:
        assert "ReadFile" not in {node.op for node in source.graph_def.node}
