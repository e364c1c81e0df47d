"""Variables that the saver doesn't fill: restored from the object graph, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from inference.backend import tf, tf1
from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.formats.saved_model import object_graph
from inference.repository.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from inference.formats.graph.source import Source

ROWS = [tf.TensorSpec([None], name="x")]


class Twice(tf.__internal__.tracking.Trackable):  # type: ignore[misc]
    """A variable that is written twice, as Keras 3's are: the saver knows the copy."""

    def __init__(self, value: float) -> None:
        self.inner = tf.Variable(value)
        self._shared_name = self.inner._shared_name

    @property
    def handle(self) -> Any:
        return self.inner.handle

    def _serialize_to_tensors(self) -> Any:
        return {"VARIABLE_VALUE": self.inner}

    def _restore_from_tensors(self, restored: Any) -> Any:
        return self.inner.assign(restored["VARIABLE_VALUE"])

    def _write_object_proto(self, proto: Any, options: Any) -> None:
        self.inner._write_object_proto(proto, options)

    def _copy_trackable_to_cpu(self, object_map: Any) -> None:
        object_map[self] = self.inner

    def _export_to_saved_model_graph(
        self, object_map: Any, tensor_map: Any, options: Any, **kwargs: Any
    ) -> Any:
        written = self.inner._export_to_saved_model_graph(
            object_map, tensor_map, options, **kwargs
        )
        object_map[self] = tf.Variable(object_map[self.inner])
        return written


def module() -> Any:
    """`y` = 3x + 0.5, and `z` = 5x: the variables deep in it, one of them shared."""
    made = tf.Module()
    made.parts = [tf.Module(), tf.Module()]
    made.parts[0].gain = Twice(3.0)
    made.parts[1].by_name = {"gain": made.parts[0].gain, "bias": Twice(0.5)}
    made.five = tf.Variable(5.0)
    gain, bias = made.parts[0].gain.inner, made.parts[1].by_name["bias"].inner
    made.call = tf.function(lambda x: {"y": x * gain + bias, "z": x * made.five}, ROWS)
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    made = module()
    tf.saved_model.save(made, str(tmp_path / "m"), signatures=made.call)
    return tmp_path / "m"


def edit(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the object graph of a SavedModel."""
    model = saved_model_pb2.SavedModel()
    file = folder / "saved_model.pb"
    model.ParseFromString(file.read_bytes())
    change(model.meta_graphs[0].object_graph_def)
    file.write_bytes(model.SerializeToString())


def opened(path: Path) -> AbstractContextManager[Source]:
    return open_source(path, Sidecar())


def test_variables_without_saver_are_restored_from_objects(
    saved: Path,
) -> None:
    with opened(saved) as source:
        assert sorted(value.item() for value in source.variables.values()) == [
            0.5,
            3,
            5,
        ]
        signature = source.signatures["serving_default"]
        answer = source.reference(signature, {"x": np.array([1, 2], "float32")})

    assert answer["y"].tolist() == [3.5, 6.5]
    assert answer["z"].tolist() == [5.0, 10.0]


def renamed(objects: Any) -> None:
    """Rename parts of the checkpoint's paths, as if it belonged to another model."""
    objects.nodes[0].children[0].local_name = "pieces"


def unbound(objects: Any) -> None:
    for function in objects.concrete_functions.values():
        del function.bound_inputs[:]


@pytest.mark.parametrize("change", [renamed, unbound])
def test_variable_without_value_is_named_with_remedy(
    saved: Path, change: Callable[[Any], None]
) -> None:
    edit(saved, change)

    with (
        pytest.raises(InvalidModel, match=r"'Variable\w*' has no val.*model\.export"),
        opened(saved),
    ):
        pass


def test_variable_left_out_by_a_tf1_saver_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m"

    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder("float32", [None], name="x")
        kept = tf1.get_variable("kept", initializer=2.0)
        local = tf1.get_variable("local", initializer=3.0)
        session.run(tf1.global_variables_initializer())
        signature = tf1.saved_model.predict_signature_def({"x": x}, {"y": x * local})
        builder = tf1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {"serving_default": signature},
            saver=tf1.train.Saver([kept]),
        )
        builder.save()

    with pytest.raises(InvalidModel, match="'local' has no value"), opened(path):
        pass


def lead_astray(objects: Any) -> None:
    for node in objects.nodes:
        for child in node.children:
            child.node_id = 10**6


def lead_in_circles(objects: Any) -> None:
    for node in objects.nodes:
        for child in node.children:
            child.node_id = 0


def bind_nothing(objects: Any) -> None:
    for function in objects.concrete_functions.values():
        function.bound_inputs.extend([10**6] * 100)


@pytest.mark.parametrize("change", [lead_astray, lead_in_circles, bind_nothing])
def test_misleading_objects_are_refused(
    saved: Path, change: Callable[[Any], None]
) -> None:
    edit(saved, change)

    with pytest.raises(InvalidModel), opened(saved):
        pass


def test_damaged_object_list_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_graph, "_GRAPH", "five/.ATTRIBUTES/VARIABLE_VALUE")

    with pytest.raises(InvalidModel, match="can't be restored"), opened(saved):
        pass
