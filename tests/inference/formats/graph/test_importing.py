"""Attributes that a node's operation doesn't have: dropped if stale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorflow.core.framework import op_def_pb2
from tensorflow.core.protobuf import saved_model_pb2

from inference.backend import tf
from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from tests.support.graphs import floats, rows, write_saved_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Change = Callable[[Any], object]

ROWS = floats(2, 3)
WRONG = tf.TensorShape([None, 7]).as_proto()


def build() -> None:
    first, *_ = tf.split(rows("x", 3), 3, axis=1, name="parts")
    tf.identity(first * 2.0, name="y")


def wrong_size(nodes: Any) -> None:
    nodes["y"].attr["_output_shapes"].list.shape[0].CopyFrom(WRONG)


def too_few(nodes: Any) -> None:
    del nodes["parts"].attr["_output_shapes"].list.shape[0]


def too_many(nodes: Any) -> None:
    nodes["x"].attr["_output_shapes"].list.shape.append(WRONG)


def gone_neighbour(nodes: Any) -> None:
    nodes["y"].attr["_class"].list.s.append(b"loc:@nobody")


def new_empty_text(nodes: Any) -> None:
    nodes["y"].attr["hint"].s = b""


def new_empty_list(nodes: Any) -> None:
    nodes["mul"].attr["tiles"].list.SetInParent()


def write(path: Path, change: Change) -> None:
    with tf.Graph().as_default() as graph:
        build()

    graph_def = graph.as_graph_def(add_shapes=True)
    change({node.name: node for node in graph_def.node})
    path.write_bytes(graph_def.SerializeToString())


@pytest.mark.parametrize(
    "change",
    [wrong_size, too_few, too_many, gone_neighbour, new_empty_text, new_empty_list],
)
def test_stale_or_empty_attributes_are_dropped(tmp_path: Path, change: Change) -> None:
    write(tmp_path / "model.pb", change)

    with open_source(tmp_path / "model.pb", Sidecar()) as source:
        signature = source.signatures["serving_default"]
        given = source.reference(signature, {"x": ROWS})["y"]

    np.testing.assert_allclose(given, ROWS[:, :1] * 2)
    assert signature.outputs["y"].shape == (None, 1)


def test_unknown_attribute_with_a_value_is_noted(tmp_path: Path) -> None:
    """TensorFlow only writes a line to its log."""

    def change(nodes: Any) -> None:
        nodes["y"].attr["negated"].b = True

    write(tmp_path / "model.pb", change)

    with open_source(tmp_path / "model.pb", Sidecar()) as source:
        assert any("negated ('y', Identity)" in note for note in source.notes)


@pytest.mark.parametrize(("value", "taken"), [(True, True), (False, False)])
def test_saved_model_has_the_default_of_a_new_attribute(
    tmp_path: Path, value: bool, taken: bool
) -> None:
    def sides() -> Any:
        x = rows("x", 3)
        return {"x": x}, {"y": tf.identity(x * 2.0, name="y")}

    path = write_saved_model(tmp_path / "model", sides) / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    (meta_graph,) = saved.meta_graphs
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    nodes["y"].attr["exact"].b = value
    definition = {
        each.name: each for each in meta_graph.meta_info_def.stripped_op_list.op
    }
    new = op_def_pb2.OpDef.AttrDef(name="exact", type="bool")
    new.default_value.b = True
    definition["Identity"].attr.append(new)
    path.write_bytes(saved.SerializeToString())

    if taken:
        with open_source(path.parent, Sidecar()) as source:
            signature = source.signatures["serving_default"]
            given = source.reference(signature, {"x": ROWS})["y"]

        np.testing.assert_allclose(given, ROWS * 2)
        return

    with (
        pytest.raises(InvalidModel, match="'exact'"),
        open_source(path.parent, Sidecar()),
    ):
        pass
