from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.compiler.rewriting import forms
from inference.compiler.rewriting.forms import (
    GraphForm,
    clean,
    form_builders,
    freeze,
    inline,
    plain,
)
from inference.errors import InvalidModel
from inference.formats.graph.graphdef import nodes_by_name
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable
from tests.support.graphs import (
    compile_graph,
    compile_path,
    floats,
    rows,
    source_of,
    write_saved_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.formats.graph.source import Source

    Break = Callable[[Any], object]

KERNEL = floats(4, 3)


def dense() -> None:
    tf.nn.relu(tf.matmul(rows("x", 4), KERNEL) + 1.0, name="y")


def variables() -> tuple[dict[str, Any], dict[str, Any]]:
    """Build a graph of a read, a gathered and a counting variable."""
    ids = rows("ids", dtype="int32")
    start = tf1.constant_initializer(floats(4, 3))
    read, gathered, counted = (
        tf1.get_variable(name, [4, 3], initializer=start, use_resource=True)
        for name in ("read", "gathered", "counted")
    )
    sums = tf.gather(gathered, ids) + tf.reduce_sum(read)

    with tf.control_dependencies([counted.assign_add(tf.ones([4, 3]))]):
        return {"ids": ids}, {"sums": sums, "count": counted.read_value()}


def in_calls() -> None:
    """Build a function that is called twice around a loop."""
    twice = tf.function(lambda value: tf.tanh(value @ floats(4, 4)))
    loop = tf.while_loop(
        lambda turn, _: turn < 3,
        lambda turn, value: (turn + 1, value * 1.5),
        (tf.constant(0), twice(rows("x", 4))),
    )
    tf.identity(twice(loop[1]), name="y")


def other_numbers(graph_def: Any) -> None:
    node = next(node for node in graph_def.node if node.op == "Const")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(KERNEL * 1.001))


def unknown_op(graph_def: Any) -> None:
    graph_def.node[-1].op = "NoSuchOp"


def cut(graph_def: Any) -> None:
    del graph_def.node[:2]


def two_dimensions_swapped(graph_def: Any) -> None:
    node = next(node for node in graph_def.node if node.op == "Const")
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(KERNEL.T))


def broken_form(source: Source, break_: Break) -> GraphForm:
    form = plain(source)
    break_(form.graph_def)
    return form


@pytest.mark.parametrize(
    "break_", [other_numbers, unknown_op, cut, two_dimensions_swapped]
)
def test_wrong_form_is_replaced_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_: Break
) -> None:
    def with_wrong(source: Source) -> Any:
        return [("wrong", partial(broken_form, source, break_)), *form_builders(source)]

    monkeypatch.setattr("inference.compiler.compile.form_builders", with_wrong)
    artifact = compile_graph(tmp_path, dense)

    manifest = artifact.read_manifest()
    assert manifest.optimization == "full"
    assert [note for note in manifest.notes if note.startswith("wrong: ")]
    x = floats(5, 4)

    with Servable(artifact) as servable:
        y = servable.run("serving_default", {"x": x})["y"]

    np.testing.assert_allclose(y, np.maximum(x @ KERNEL + 1.0, 0.0), atol=1e-6)


def test_no_correct_form_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(source: Source) -> Any:
        return [("wrong", partial(broken_form, source, other_numbers))]

    monkeypatch.setattr("inference.compiler.compile.form_builders", wrong)

    with pytest.raises(InvalidModel, match=r"No form.*wrong: .*differs by 0\.00"):
        compile_graph(tmp_path, dense)


@pytest.mark.parametrize(
    ("bad", "level"),
    [
        ("remap", "without remap"),
        ("constfold", "inlined"),
        ("function", "none"),
    ],
)
@pytest.mark.parametrize("raises", [True, False])
def test_failing_optimiser_lowers_the_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, level: str, raises: bool
) -> None:
    right = forms.rewrite

    def rewrite(graph_def: Any, tensors: Any, passes: Any) -> Any:
        rewritten = right(graph_def, tensors, passes)

        if bad not in passes:
            return rewritten

        if raises:
            raise RuntimeError("the optimiser fell over")

        other_numbers(rewritten)
        return rewritten

    monkeypatch.setattr(forms, "rewrite", rewrite)
    manifest = compile_graph(tmp_path, dense).read_manifest()

    assert manifest.optimization == level
    assert manifest.largest_difference is not None
    assert manifest.largest_difference < 1e-5


def test_random_outputs_are_served_without_optimisation(tmp_path: Path) -> None:
    def random() -> None:
        x = rows("x", 4)
        tf.add(x, tf.random.uniform(tf.shape(x)), name="y")

    manifest = compile_graph(tmp_path, random).read_manifest()

    assert manifest.optimization == "none"
    assert any("different outputs from call to call" in note for note in manifest.notes)


def test_only_read_variables_become_constants(
    tmp_path: Path,
) -> None:
    path = write_saved_model(tmp_path / "model", variables)

    with open_source(path, Sidecar()) as source:
        frozen, left = freeze(source.graph_def, source.variables)

    assert set(left) == {"gathered", "counted"}
    before = nodes_by_name(source.graph_def)
    changed = {
        tuple(before[node.name].input): node.op
        for node in frozen.node
        if node.op != before[node.name].op
    }
    assert changed == {("read",): "Const"}


def test_counter_starts_anew_with_each_call(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "model", variables)
    ids = np.array([2, 0], "int32")

    with Servable(compile_path(path, tmp_path / "artifact")) as servable:
        first, second = (servable.run("serving_default", {"ids": ids}) for _ in "12")

    wanted = floats(4, 3)[ids] + floats(4, 3).sum()
    np.testing.assert_allclose(first["sums"], wanted, atol=1e-5)
    np.testing.assert_allclose(second["sums"], wanted, atol=1e-5)
    np.testing.assert_allclose(first["count"], floats(4, 3) + 1.0, atol=1e-5)
    np.testing.assert_allclose(second["count"], first["count"], atol=1e-5)


def test_calls_are_inlined_and_loops_kept(tmp_path: Path) -> None:
    with source_of(tmp_path, in_calls) as source:
        before = {node.op for node in source.graph_def.node}
        graph_def = inline(source.graph_def, source.tensors())

    kinds = [node.op for node in graph_def.node]
    assert any("PartitionedCall" in kind for kind in before)
    assert not any("PartitionedCall" in kind for kind in kinds)
    assert kinds.count("MatMul") == 2
    assert kinds.count("StatelessWhile") == 1
    (loop,) = (node for node in graph_def.node if node.op == "StatelessWhile")
    assert loop.attr["_lower_using_switch_merge"].b


def test_clean_copy_has_no_exporter_metadata(tmp_path: Path) -> None:
    with source_of(tmp_path, dense) as source:
        node = source.graph_def.node[0]
        node.device = "/job:worker/device:GPU:3"
        node.attr["_class"].list.s.append(b"loc:@elsewhere")
        node.attr["_output_shapes"].list.shape.add()
        copy = clean(source.graph_def)

    assert not copy.node[0].device
    assert not {"_class", "_output_shapes"} & set(copy.node[0].attr)
    assert node.device


def test_weights_above_the_limit_are_not_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_saved_model(tmp_path / "model", variables)

    with open_source(path, Sidecar()) as source:
        total = sum(value.nbytes for value in source.variables.values())
        monkeypatch.setattr(forms, "FREEZE_LIMIT", total)
        at_the_limit = [level for level, _ in form_builders(source)]
        monkeypatch.setattr(forms, "FREEZE_LIMIT", total - 1)
        above = [level for level, _ in form_builders(source)]

    assert at_the_limit == ["full", "without remap", "inlined", "none"]
    assert above == ["inlined", "none"]
