"""SavedModels without signatures: their functions are served if a sidecar asks."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2

from inference.backend import tf
from inference.errors import InvalidModel, InvalidSidecar
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from inference.formats.graph.source import Source

ROWS = tf.TensorSpec([None, 2], name="x")
RAGGED = tf.RaggedTensorSpec([None, None], tf.float32, ragged_rank=1)


def module() -> Any:
    made = tf.Module()
    made.gain = tf.Variable([2.0, 3.0])
    made.parts = {"bias": tf.Variable([0.5, 1.0])}
    fixed, count = tf.constant([10.0, 20.0]), tf.Variable(0)
    made.count = count
    keys, values = tf.constant(["a"]), tf.constant([1])
    start = tf.lookup.KeyValueTensorInitializer(keys, values)
    made.table = tf.lookup.StaticHashTable(start, -1)
    scalar = tf.TensorSpec([], name="by")

    def call(x: Any) -> Any:
        return {"y": x * made.gain + made.parts["bias"], "fixed": x + fixed}

    made.__dict__["__call__"] = tf.function(call, [ROWS])
    made.pair = tf.function(lambda x, by: (x * by, x * made.gain), [ROWS, scalar])
    made.ragged = tf.function(lambda x: x * made.gain[0], [RAGGED])
    made.look = tf.function(
        lambda words: made.table.lookup(words), [tf.TensorSpec([None], tf.string)]
    )
    made.never = tf.function(lambda x: x)
    made.twice = tf.function(lambda x, training: x if training else -x)
    for training in (True, False):
        made.twice.get_concrete_function(ROWS, training)

    return made


@pytest.fixture(scope="module")
def made() -> Any:
    return module()


@pytest.fixture(scope="module")
def saved(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bare") / "m"
    tf.saved_model.save(made, str(folder))
    return folder


@contextmanager
def opened(path: Path, default: str | None) -> Iterator[Source]:
    with open_source(path, Sidecar(default_signature=default)) as source:
        yield source


def test_refusal_names_functions_for_the_sidecar(saved: Path) -> None:
    with (
        pytest.raises(InvalidModel, match=r"functions \(__call__, look, .*model\.toml"),
        opened(saved, None),
    ):
        pass


def test_function_named_by_the_sidecar_is_served(
    saved: Path, made: Any, tmp_path: Path
) -> None:
    sidecar = tmp_path / "model.toml"
    sidecar.write_text('default_signature = "__call__"')
    given = np.array([[1, 2], [3, 4]], "float32")
    wanted = made.__dict__["__call__"](given)

    with Servable(compile_path(saved, tmp_path / "artifact", sidecar)) as servable:
        assert servable.manifest.default_signature == "__call__"
        assert servable.manifest.optimization == "full"
        assert servable.signatures["__call__"].batchable
        answer = servable.run("__call__", {"x": given})

    assert {name: value.tolist() for name, value in answer.items()} == {
        name: value.numpy().tolist() for name, value in wanted.items()
    }


def test_callable_functions_are_served_and_others_noted(saved: Path) -> None:
    with opened(saved, "pair") as source:
        served = {
            name: (list(signature.inputs), list(signature.outputs))
            for name, signature in source.signatures.items()
        }
        reasons = source.left_out
        variables = source.variables

    assert served == {
        "__call__": (["x"], ["fixed", "y"]),
        "pair": (["by", "x"], ["output_0", "output_1"]),
        "ragged": (["x", "x_1"], ["output_0/values", "output_0/row_splits"]),
    }
    assert "lookup table" in reasons["look"]
    assert "never called" in reasons["never"]
    assert "2 graphs" in reasons["twice"]
    assert len(variables) == 2  # shared by the functions that hold them


def test_parts_of_a_ragged_input_are_labelled(saved: Path) -> None:
    with opened(saved, "ragged") as source:
        inputs = source.signatures["ragged"].inputs
        parts = [spec.part for spec in inputs.values()]
        given = {"x": np.array([1, 2], "float32"), "x_1": np.array([0, 2])}
        answer = source.reference(source.signatures["ragged"], given)

    assert [(part.of, part.role) for part in parts if part] == [
        ("x", "values"),
        ("x", "row_splits"),
    ]
    assert answer["output_0/values"].tolist() == [2.0, 4.0]


def test_default_function_must_be_callable(saved: Path) -> None:
    with (
        pytest.raises(InvalidSidecar, match=r"'twice', which can't .*2 graphs"),
        opened(saved, "twice"),
    ):
        pass


def test_declared_signatures_precede_functions(made: Any, tmp_path: Path) -> None:
    path = tmp_path / "m"
    tf.saved_model.save(made, str(path), signatures={"served": made.pair})

    with opened(path, None) as source:
        assert list(source.signatures) == ["served"]

    with pytest.raises(InvalidSidecar, match="but the model has: served"):
        open_source(path, Sidecar(default_signature="ragged")).__enter__()


def edited(saved: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((saved / "saved_model.pb").read_bytes())
    change(model.meta_graphs[0])
    shutil.copytree(saved, folder)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


def take_more(meta_graph: Any) -> None:
    for function in meta_graph.object_graph_def.concrete_functions.values():
        function.bound_inputs.extend([0] * 50)


def hold_what_isnt_there(meta_graph: Any) -> None:
    for function in meta_graph.object_graph_def.concrete_functions.values():
        function.bound_inputs[:] = [-1, 10**6]


def lose_bodies(meta_graph: Any) -> None:
    for function in meta_graph.graph_def.library.function:
        if any(each.name == "x" for each in function.signature.input_arg):
            function.signature.name += "_of_another"


def declare_many_parts(meta_graph: Any) -> None:
    for function in meta_graph.object_graph_def.concrete_functions.values():
        spec = function.output_signature.type_spec_value
        spec.type_spec_class, spec.num_flat_components = 3, 2**31 - 1


def pose_as_the_start(meta_graph: Any) -> None:
    for child in meta_graph.object_graph_def.nodes[0].children:
        if child.local_name == "__call__":
            child.local_name = "__saved_model_init_op"


def hide_a_file(meta_graph: Any) -> None:
    for function in meta_graph.graph_def.library.function:
        function.node_def.add(name="content", op="ReadFile")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (take_more, "lookup table or another resource"),
        (hold_what_isnt_there, "lookup table or another resource"),
        (lose_bodies, "doesn't have its graph"),
        (declare_many_parts, "other tensors than it declares"),
        (pose_as_the_start, r"functions \(look, never"),
        (hide_a_file, "ReadFile"),
    ],
)
def test_misleading_functions_are_refused(
    saved: Path, tmp_path: Path, change: Callable[[Any], None], reason: str
) -> None:
    path = edited(saved, tmp_path / "m", change)

    with pytest.raises(InvalidModel, match=reason), opened(path, "__call__"):
        pass
