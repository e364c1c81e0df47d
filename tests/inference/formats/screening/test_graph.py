"""Graphs that may be served. The refusals themselves are in `tests/crafted`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar
from tests.crafted.graph_files import behind_output, built
from tests.crafted.graph_hiding import in_a_shape, sing
from tests.support.graphs import rows, write_graph

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def imported(path: Path) -> tf.Graph:
    """Return the graph as TensorFlow imports it, without screening."""
    graph_def = tf1.GraphDef()
    graph_def.ParseFromString(path.read_bytes())

    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")

    return graph


def test_crafted_graphs_do_harm_when_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = behind_output(sing)(tmp_path, canary)

    with tf1.Session(graph=imported(path)) as session:
        session.run("y:0", {"x:0": [[1.0, 2.0]]})

    assert canary.read_text() == "sung"


def test_crafted_graphs_do_harm_when_imported(tmp_path: Path) -> None:
    """No session is needed: TensorFlow computes shapes, and writes while it does."""
    canary = tmp_path / "canary"
    imported(built(in_a_shape)(tmp_path, canary))

    assert any(canary.rglob("*"))


def test_refusal_names_place_reason_and_remedy(tmp_path: Path) -> None:
    path = behind_output(sing)(tmp_path, tmp_path / "canary")

    with pytest.raises(InvalidModel) as caught:
        open_source(path, Sidecar()).__enter__()

    assert str(caught.value) == (
        "model.pb: node 'WriteFile' is a WriteFile, which is not on the list of "
        "operations that are known to be safe: it may reach files, the network or "
        "other programs. Export the model without it, or, if you trust the file, "
        "allow it with --allow-ops WriteFile."
    )


def test_refusal_names_all_operations_to_allow(tmp_path: Path) -> None:
    def build() -> None:
        text = tf.io.read_file(tf.io.matching_files("/etc/host*")[0])
        tf.strings.join([rows("x", dtype="string"), text], name="y")

    path = write_graph(tmp_path / "model.pb", build)

    with pytest.raises(InvalidModel, match="MatchingFiles.* It also uses ReadFile"):
        open_source(path, Sidecar()).__enter__()


def test_allowed_operation_passes(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = behind_output(sing)(tmp_path, canary)

    with open_source(path, Sidecar(), Permissions(allow_ops=("WriteFile",))) as source:
        assert "WriteFile" in {node.op for node in source.graph_def.node}


def test_allowed_operation_may_name_a_file(tmp_path: Path) -> None:
    def build() -> None:
        sampled = tf.raw_ops.FixedUnigramCandidateSampler(
            true_classes=rows("x", 1, dtype="int64"),
            num_true=1,
            num_sampled=1,
            unique=True,
            range_max=2,
            vocab_file="/etc/hostname",
        )
        tf.identity(sampled.sampled_candidates, name="y")

    path = write_graph(tmp_path / "model.pb", build)
    allowed = Permissions(allow_ops=("FixedUnigramCandidateSampler",))

    with open_source(path, Sidecar(), allowed) as source:
        assert "y" in source.signatures["serving_default"].outputs


def test_allowing_one_operation_allows_no_other(tmp_path: Path) -> None:
    path = behind_output(sing)(tmp_path, tmp_path / "canary")

    with pytest.raises(InvalidModel, match="WriteFile"):
        open_source(path, Sidecar(), Permissions(allow_ops=("ReadFile",))).__enter__()


def test_unneeded_operations_are_not_screened(tmp_path: Path) -> None:
    def reads_for_nobody() -> None:
        tf.io.read_file(tf.constant("/etc/hostname"), name="unused")
        tf.identity(rows("x", 2), name="y")

    path = write_graph(tmp_path / "model.pb", reads_for_nobody)

    with open_source(path, Sidecar()) as source:
        assert "ReadFile" not in {node.op for node in source.graph_def.node}


def test_unneeded_operations_are_not_imported(tmp_path: Path) -> None:
    """TensorFlow would compute a shape of it, and write while it does."""
    canary = tmp_path / "canary"

    def build() -> None:
        tf.identity(rows("x", 2) + 1.0, name="y")
        shape = tf.raw_ops.DebugIdentity(
            input=tf.identity(tf.constant([2, 3])), debug_urls=[f"file://{canary}"]
        )
        tf.reshape(tf.ones([6]), shape, name="unused")

    path = write_graph(tmp_path / "model.pb", build)

    with open_source(path, Sidecar()):
        pass

    assert not canary.exists()


def test_sidecar_can_leave_out_unsafe_outputs(tmp_path: Path) -> None:
    def build() -> None:
        x = rows("x", 2)
        tf.identity(x, name="y")
        name = tf.strings.as_string(tf.reduce_sum(x))
        tf.io.read_file(name, name="content")

    path = write_graph(tmp_path / "model.pb", build)
    sides: Mapping[str, Any] = {"outputs": {"y": "y:0"}}
    sidecar = Sidecar.model_validate({"signatures": {"serving_default": sides}})

    with pytest.raises(InvalidModel, match="ReadFile"):
        open_source(path, Sidecar()).__enter__()

    with open_source(path, sidecar) as source:
        assert source.signatures["serving_default"].outputs.keys() == {"y"}


def test_devices_are_dropped(tmp_path: Path) -> None:
    def build() -> None:
        with tf.device("/job:worker/replica:0/task:3/device:GPU:1"):
            tf.identity(rows("x", 2) * 2.0, name="y")

    path = write_graph(tmp_path / "model.pb", build)

    with open_source(path, Sidecar()) as source:
        assert {node.device for node in source.graph_def.node} == {""}
        signature = source.signatures["serving_default"]
        answer = source.reference(signature, {"x": np.array([[1.0, 2.0]])})
        assert answer["y"].tolist() == [[2.0, 4.0]]


def test_pipeline_values_are_inputs(tmp_path: Path) -> None:
    """The iterator behind it isn't run, so it needs no permission."""
    ones = np.ones((2, 3), "float32")

    def build() -> None:
        dataset = tf.data.Dataset.from_tensors(ones)
        given = tf1.data.make_one_shot_iterator(dataset).get_next()
        tf.identity(given * 2.0, name="y")

    path = write_graph(tmp_path / "model.pb", build)

    with open_source(path, Sidecar()) as source:
        assert "OneShotIterator" not in {node.op for node in source.graph_def.node}
        signature = source.signatures["serving_default"]
        inputs = dict.fromkeys(signature.inputs, ones)
        assert source.reference(signature, inputs)["y"].tolist() == [[2.0] * 3] * 2
