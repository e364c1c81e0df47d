"""Values shared by several signatures are stored once in the artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.compiler.rewriting import forms
from inference.compiler.rewriting.constants import share_constants
from inference.compiler.rewriting.control_inputs import drop_redundant_controls
from inference.formats.graph.graphdef import nodes_by_name
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path, floats

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


MIB = 2**20
WIDE, NARROW = floats(512, 512), floats(512, 3)


class Exported(tf.Module):  # type: ignore[misc]
    """A module like one that Keras' `model.export` writes: a function per signature."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.weights = [tf.Variable(floats(*shape)) for shape in shapes]

    def save(self, path: Path, count: int, call: Callable[..., Any]) -> Path:
        spec = tf.TensorSpec([None, self.weights[0].shape[0]], tf.float32, name="x")
        functions = [
            tf.function(lambda x, number=number: {"y": call(x, self.weights) + number})
            for number in range(count)
        ]
        signatures = {
            f"s{number}": function.get_concrete_function(spec)
            for number, function in enumerate(functions)
        }
        # Held by the object: what a signature's function captures must be.
        self.functions = functions
        tf.saved_model.save(self, str(path), signatures=signatures)
        return path


def dense(x: Any, weights: Any) -> Any:
    return tf.nn.relu(x @ weights[0]) @ weights[1]


def convolved(x: Any, weights: Any) -> Any:
    """Build a convolution with a batch norm's scale, folded once per signature."""
    image = tf.reshape(x @ weights[0], [-1, 4, 4, 32])
    product = tf.nn.conv2d(image, tf.reshape(weights[1], [1, 1, 32, 512]), 1, "SAME")
    return tf.reduce_sum(product * tf.constant(np.linspace(1, 2, 512), tf.float32), 3)


def gathered(x: Any, weights: Any) -> Any:
    ids = tf.cast(tf.abs(x[:, :4]), tf.int32)
    return tf.reduce_mean(tf.gather(weights[1], ids), 1) @ weights[0]


def sums(path: Path) -> int:
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


@pytest.mark.parametrize(
    ("call", "shapes"),
    [
        pytest.param(dense, [(512, 512), (512, 3)], id="dense"),
        pytest.param(convolved, [(512, 512), (32, 512)], id="folded"),
        pytest.param(gathered, [(512, 512), (900, 512)], id="gathered"),
    ],
)
@pytest.mark.parametrize("limit", [0, forms.FREEZE_LIMIT])
def test_signatures_share_weights(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[..., Any],
    shapes: Any,
    limit: int,
) -> None:
    monkeypatch.setattr(forms, "FREEZE_LIMIT", limit)
    module = Exported(*shapes)
    path = module.save(tmp_path / "model", 2, call)
    artifact = compile_path(path, tmp_path / "artifact")
    manifest = artifact.read_manifest()
    distinct = sum(np.prod(shape) * 4 for shape in shapes)

    assert manifest.weights_bytes <= 1.02 * distinct
    assert sums(artifact.folder) <= 1.02 * distinct + manifest.graph_bytes + 2**14
    x = floats(3, shapes[0][0])

    with Servable(artifact) as servable:
        wanted = call(tf.constant(x), module.weights).numpy()

        for number in range(2):
            y = servable.run(f"s{number}", {"x": x})["y"]
            np.testing.assert_allclose(y, wanted + number, rtol=1e-4, atol=1e-2)


def test_export_takes_the_size_of_its_weights(
    tmp_path: Path,
) -> None:
    module = Exported((256, 2048), (2048, 256))
    path = module.save(tmp_path / "model", 2, dense)
    artifact = compile_path(path, tmp_path / "artifact")

    assert sums(artifact.folder) <= 1.02 * 4 * MIB
    manifest = artifact.read_manifest()
    mapped = dict(artifact.map_weights(manifest))
    assert sum(value.nbytes for value in mapped.values()) == 4 * MIB


def test_written_variables_are_not_shared(tmp_path: Path) -> None:
    """Two written variables that start out equal."""

    def count(x: Any, weights: Any) -> Any:
        first, second = weights
        first.assign_add(tf.ones_like(first))
        return tf.reduce_sum(first) + 0.0 * tf.reduce_sum(second) + 0.0 * x

    def both(x: Any, weights: Any) -> Any:
        with tf.control_dependencies([count(x, weights)]):
            weights[1].assign_add(2.0 * tf.ones_like(weights[1]))
            return x + tf.reduce_mean(weights[0] + weights[1] * 10.0)

    module = Exported((150, 200), (150, 200))

    for weight in module.weights:
        weight.assign(tf.zeros_like(weight))

    path = module.save(tmp_path / "model", 1, both)
    x = np.zeros((1, 150), "f")

    with Servable(compile_path(path, tmp_path / "artifact")) as servable:
        answers = [servable.run("s0", {"x": x})["y"][0, 0] for _ in "12"]

    np.testing.assert_allclose(answers, [21.0, 21.0])


def graph_of(build: Callable[[], object]) -> Any:
    with tf.Graph().as_default() as graph:
        build()

    return graph.as_graph_def()


def test_equal_small_constants_become_one_node() -> None:
    def build() -> None:
        x = tf1.placeholder(tf.float32, [3], name="x")
        one, other = (tf1.constant([1.0, 2.0, 3.0], name=name) for name in ("a", "b"))
        kept = tf1.constant([1.0, 2.0, 3.0], name="kept")
        integers = tf1.constant([1, 2, 3], name="integers")

        with tf.control_dependencies([other]):
            tf.add(x * one, other * kept, name="y")

        tf.identity(integers, name="z")

    graph_def = graph_of(build)
    share_constants(graph_def, {"kept", "y", "z"})

    nodes = nodes_by_name(graph_def)
    assert {name for name, node in nodes.items() if node.op == "Const"} == {
        "a",
        "kept",
        "integers",
    }
    inputs = {tensor for node in graph_def.node for tensor in node.input}
    assert not {"b", "^b"} & inputs
    assert "^a" in inputs

    with tf.Graph().as_default() as graph, tf1.Session() as session:
        tf.graph_util.import_graph_def(graph_def, name="")
        np.testing.assert_allclose(
            session.run("y:0", {"x:0": np.ones(3)}), [2.0, 6.0, 12.0]
        )
        assert graph.get_tensor_by_name("kept:0") is not None


def test_constants_of_loop_frames_are_not_shared() -> None:
    def build() -> None:
        x = tf1.placeholder(tf.float32, [3], name="x")

        with tf.control_dependencies([x]):
            tf1.constant([1.0], name="a")
            tf1.constant([1.0], name="b")

    graph_def = graph_of(build)
    before = graph_def.SerializeToString(deterministic=True)
    share_constants(graph_def, set())
    drop_redundant_controls(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before


def test_only_redundant_control_inputs_are_dropped() -> None:
    def build() -> None:
        x = tf1.placeholder(tf.float32, [], name="x")
        handle = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], shared_name="v")

        with tf.control_dependencies([handle]):
            ready = tf.no_op(name="ready")

        with tf.control_dependencies([ready]):
            tf1.constant(1.0, name="free")

        with tf.control_dependencies([x, ready]):
            later = tf.no_op(name="later")

        with tf.control_dependencies([later]):
            tf1.constant(1.0, name="bound")

    graph_def = graph_of(build)
    drop_redundant_controls(graph_def)
    inputs = {node.name: list(node.input) for node in graph_def.node}

    assert inputs["free"] == inputs["ready"] == []
    assert inputs["later"] == ["^x"]
    assert inputs["bound"] == ["^later"]
