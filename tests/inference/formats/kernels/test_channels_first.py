from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.compiler.rewriting.forms import PASSES, rewrite
from inference.errors import InvalidModel
from inference.formats.kernels.adapting import adapt
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable
from tests.support.graphs import (
    compile_graph,
    floats,
    old_control_flow,
    rows,
    source_of,
)
from tests.support.layouts import (
    IN,
    MOVIES,
    NORM,
    PICTURES,
    SAME_FILTERS,
    TWO,
    Form,
    answer,
    convolved,
    cubes,
    cubes_transposed,
    graph,
    residual,
    statistics,
)

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array
    from tests.support.layouts import Build


def kinds(graph_def: Any) -> Counter[str]:
    return Counter(node.op for node in graph_def.node)


@pytest.mark.parametrize(
    ("build", "pictures"),
    [(each, PICTURES) for each in TWO]
    + [(each, MOVIES) for each in (cubes, cubes_transposed)],
)
def test_channels_first_matches_channels_last(build: Build, pictures: Array) -> None:
    first = graph(build, pictures, first=True)

    notes = adapt(first, ["y:0"])

    assert "Channels-first" in notes[0]
    wanted = answer(graph(build, pictures, first=False), pictures)
    got = answer(first, pictures)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


def test_transpositions_between_neighbours_cancel() -> None:
    first = graph(residual, PICTURES, first=True)

    adapt(first, ["y:0"])

    # One before the first convolution, one behind all.
    assert kinds(first)["Transpose"] == 2


def test_channels_last_is_unchanged() -> None:
    last = graph(residual, PICTURES, first=False)
    before = last.SerializeToString(deterministic=True)

    assert adapt(last, ["y:0"]) == []
    assert last.SerializeToString(deterministic=True) == before


def in_a_function(form: Form, x: Any) -> Any:
    def body(turn: Any, value: Any) -> Any:
        made = tf.nn.conv2d(value, SAME_FILTERS, 1, "SAME", data_format=form.name)
        return turn + 1, tf.nn.tanh(made)

    function = tf.function(
        lambda x: tf.while_loop(lambda turn, _: turn < 3, body, (0, x))[1],
        autograph=False,
    )
    return function(x)


def test_bodies_of_functions_are_rewritten() -> None:
    first = graph(in_a_function, PICTURES, first=True)
    wanted = answer(graph(in_a_function, PICTURES, first=False), PICTURES)

    adapt(first, ["y:0"])

    formats = {
        node.attr["data_format"].s
        for function in first.library.function
        for node in function.node_def
        if node.op == "Conv2D"
    }
    assert formats == {b"NHWC"}
    np.testing.assert_allclose(answer(first, PICTURES), wanted, rtol=0, atol=1e-5)


def test_loops_of_nodes_are_rewritten() -> None:
    def loop(form: Form, x: Any) -> Any:
        def body(turn: Any, value: Any) -> Any:
            made = tf.nn.conv2d(value, SAME_FILTERS, 1, "SAME", data_format=form.name)
            made = tf.nn.bias_add(made, floats(IN), data_format=form.name)
            return turn + 1, tf.nn.tanh(made)

        return tf.while_loop(lambda turn, _: turn < 3, body, (0, x))[1]

    with old_control_flow():
        first = graph(loop, PICTURES, first=True)
        wanted = answer(graph(loop, PICTURES, first=False), PICTURES)

    adapt(first, ["y:0"])

    np.testing.assert_allclose(answer(first, PICTURES), wanted, rtol=0, atol=1e-5)


def test_all_outputs_of_an_operation_can_be_served() -> None:
    first = graph(statistics, PICTURES, first=True)
    wanted = answer(first_output_of_norm(first=False), PICTURES)
    named = [node.name for node in first.node if node.op == "FusedBatchNormV3"]
    means = f"{named[0]}:1"

    adapt(first, [f"{named[0]}:0", means])

    with tf.Graph().as_default() as imported:
        tf.graph_util.import_graph_def(first, name="")

    with tf1.Session(graph=imported) as session:
        tensors = [f"{named[0]}:0", means]
        picture, mean = session.run(tensors, {"x:0": PICTURES})

    np.testing.assert_allclose(picture, wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(mean, PICTURES.mean((0, 2, 3)), rtol=0, atol=1e-5)


def first_output_of_norm(*, first: bool) -> Any:
    norm = tf1.nn.fused_batch_norm

    def trained(form: Form, x: Any) -> Any:
        return norm(x, *NORM[:2], data_format=form.name, is_training=True)[0]

    return graph(trained, PICTURES, first=first)


def mean_residual(form: Form, x: Any) -> Any:
    return tf.reduce_mean(residual(form, x), form.axes(2, 3))


def test_a_frozen_graph_is_compiled_and_checked(tmp_path: Path) -> None:
    def build() -> None:
        y = mean_residual(Form(True, 4), rows("x", *PICTURES.shape[1:]))
        tf.identity(y, name="y")

    manifest = (artifact := compile_graph(tmp_path, build)).read_manifest()

    assert manifest.optimization == "full"
    assert any("operations (NCHW): 4," in note for note in manifest.notes)
    wanted = answer(graph(mean_residual, PICTURES, first=False), PICTURES)

    with Servable(artifact) as servable:
        got = servable.run("serving_default", {"x": PICTURES})["y"]

    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)


def test_functions_of_a_saved_model_are_rewritten(tmp_path: Path) -> None:
    module = tf.Module()
    module.filters = tf.Variable(SAME_FILTERS)
    module.call = tf.function(
        lambda x: tf.nn.conv2d(x, module.filters, 1, "SAME", data_format="NCHW")
    )
    spec = tf.TensorSpec([None, *PICTURES.shape[1:]], name="x")
    tf.saved_model.save(module, str(tmp_path), module.call.get_concrete_function(spec))
    last = np.moveaxis(PICTURES, 1, -1)
    wanted = np.moveaxis(tf.nn.conv2d(last, SAME_FILTERS, 1, "SAME").numpy(), -1, 1)

    with open_source(tmp_path, Sidecar()) as source:
        signature = source.signatures["serving_default"]
        got = source.reference(signature, {"x": PICTURES})

    np.testing.assert_allclose(got["output_0"], wanted, rtol=0, atol=1e-5)
    assert any("Channels-first" in note for note in source.notes)


def test_unsupported_operation_is_refused_by_name(tmp_path: Path) -> None:
    def gradient() -> None:
        x = rows("x", *PICTURES.shape[1:])
        norm = tf1.nn.fused_batch_norm(x, *NORM[:2], data_format="NCHW")[0]
        tf.identity(tf1.gradients(norm, x)[0], name="y")

    with (
        pytest.raises(InvalidModel, match=r"\(FusedBatchNormGradV3\).*NCHW.*NHWC"),
        source_of(tmp_path, gradient),
    ):
        pass


def test_fused_gpu_operations_are_rewritten() -> None:
    """TensorFlow's own fusions, as in files of optimised graphs."""
    last = rewrite(graph(fusible, PICTURES, first=False), ["y:0"], PASSES)
    wanted = answer(last, PICTURES)
    fused = next(node for node in last.node if node.op == "_FusedConv2D")
    fused.attr["data_format"].s = b"NCHW"
    fused.attr["strides"].list.i[:] = [1, 1, 2, 1]

    # It has its channels last before and behind, and is itself the other way round.
    for node in last.node:
        if node.op == "Transpose":
            node.op = "Identity"
            del node.input[1:], node.attr["Tperm"]

    adapt(last, ["y:0"])

    np.testing.assert_allclose(answer(last, PICTURES), wanted, rtol=0, atol=1e-5)


def fusible(form: Form, x: Any) -> Any:
    y = tf.nn.bias_add(convolved(form, x), floats(6), data_format=form.name)
    return tf.nn.relu(y)


def test_cycle_of_nodes_terminates() -> None:
    """No importer would take it, but nothing has imported it yet."""
    ring = graph(added_to_itself, PICTURES, first=True)
    placeholder = next(node for node in ring.node if node.op == "Placeholder")
    placeholder.op = "Identity"
    placeholder.input.append(placeholder.name)

    adapt(ring, ["y:0"])

    assert kinds(ring)["Conv2D"] == 1


def added_to_itself(form: Form, x: Any) -> Any:
    y = tf.nn.conv2d(x, SAME_FILTERS, 1, "SAME", data_format=form.name)
    return y + tf.identity(x)
