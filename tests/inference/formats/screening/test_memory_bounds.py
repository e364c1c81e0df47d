"""The memory that a model's values would take is known before they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar
from tests.crafted.graph_values import splat_alone
from tests.crafted.saved_files import good
from tests.support.graphs import rows, write_graph

if TYPE_CHECKING:
    from pathlib import Path


def weighted(path: Path, count: int) -> Path:
    weights = np.arange(count, dtype="float32")
    return write_graph(path, lambda: tf.identity(rows("x", 1) * weights, name="y"))


def test_smallest_bomb_never_reaches_tensorflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imports(*arguments: object, **options: object) -> None:
        raise AssertionError("imported")

    monkeypatch.setattr(tf.graph_util, "import_graph_def", imports)
    path = splat_alone(tmp_path, tmp_path / "canary")
    assert path.stat().st_size < 120

    with pytest.raises(InvalidModel, match="declares constants of 3,051.8 MiB"):
        open_source(path, Sidecar()).__enter__()


def test_constant_stored_as_one_value_is_not_a_bomb(tmp_path: Path) -> None:
    """Zero states and biases are stored in files as one value."""
    path = write_graph(
        tmp_path / "model.pb",
        lambda: tf.identity(rows("x", 2**20) + tf.zeros([2**20]), name="y"),
    )

    with open_source(path, Sidecar()) as source:
        assert source.signatures


def test_stored_weights_are_never_a_bomb(tmp_path: Path) -> None:
    path = weighted(tmp_path / "model.pb", 20 * 2**20)

    with open_source(path, Sidecar(), Permissions(memory_bytes=2**30)) as source:
        assert source.signatures


def test_constants_over_the_budget_are_refused_with_both_numbers(
    tmp_path: Path,
) -> None:
    path = weighted(tmp_path / "model.pb", 2**20)

    with pytest.raises(InvalidModel, match="take 4.0 MiB, but .* at most 3.0 MiB"):
        open_source(path, Sidecar(), Permissions(memory_bytes=3 * 2**20)).__enter__()


def test_variables_count_with_the_constants(tmp_path: Path) -> None:
    """Its graph has constants of 96 bytes: names of files and of variables."""
    path = good(tmp_path)

    with pytest.raises(InvalidModel, match="take 104 bytes, but .* at most 100 bytes"):
        open_source(path, Sidecar(), Permissions(memory_bytes=100)).__enter__()

    with open_source(path, Sidecar(), Permissions(memory_bytes=104)) as source:
        assert source.variables["gain"].shape == (2,)
