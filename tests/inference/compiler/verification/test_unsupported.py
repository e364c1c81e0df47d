"""Models without CPU kernels are refused, not served to fail at each call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from inference.compiler.verification.unsupported import (
    missing_kernel_reason,
    unimplemented_reason,
)
from inference.errors import InvalidModel
from inference.permissions import Permissions
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.artifacts.artifact import Artifact

tf1 = tf.compat.v1

OPS = ("CudnnRNN", "CudnnRNNV3", "NcclAllReduce")


def recurrent(x: Any) -> Any:
    state = tf.zeros([1, 2, 4])
    return tf.raw_ops.CudnnRNN(
        input=tf.tile(x[:1, None, :3], [5, 2, 1]),
        input_h=state,
        input_c=state,
        params=tf.zeros([200]),
    )[0]


GRAPHS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "cudnn": (recurrent, r"'y/rnn' \(CudnnRNN\).*plain LSTM and GRU layers"),
    "gpu_only": (
        lambda x: tf.raw_ops.NcclAllReduce(
            input=x, reduction="sum", num_devices=1, shared_name="a", name="rnn"
        ),
        r"'y/rnn' \(NcclAllReduce\).*Export the model without it",
    ),
    "no_such_cast": (
        lambda x: tf.cast(x, tf.dtypes.experimental.int4, name="rnn"),
        r"'y/rnn' \(Cast\) can't run on this machine: Cast float to int4",
    ),
}


def frozen(path: Path, build: Callable[[Any], Any]) -> Path:
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None, 4], "x")

        with tf1.name_scope("y"):
            made = build(x)
            named = [op for op in graph.get_operations() if op.type in OPS]
            tf.identity(made, name="out")

    graph_def = graph.as_graph_def()

    for node in graph_def.node:
        if named and node.name == named[0].name:
            _rename(graph_def, node.name, "y/rnn")

    path.write_bytes(graph_def.SerializeToString())
    return path


def _rename(graph_def: Any, old: str, new: str) -> None:
    for node in graph_def.node:
        node.name = new if node.name == old else node.name
        node.input[:] = [new if each == old else each for each in node.input]


def compiled(path: Path, folder: Path) -> Artifact:
    allowed = Permissions(allow_ops=OPS)
    return compile_path(path, folder / "artifact", permissions=allowed)


@pytest.mark.parametrize("name", GRAPHS)
def test_missing_kernel_is_refused_with_operation_and_remedy(
    tmp_path: Path, name: str
) -> None:
    build, said = GRAPHS[name]
    path = frozen(tmp_path / "model.pb", build)

    with pytest.raises(InvalidModel, match=said):
        compiled(path, tmp_path)


class Two(tf.Module):  # type: ignore[misc]
    """A module with a signature that runs, and one that only runs on a GPU."""

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")]
    )
    def double(self, x: Any) -> Any:
        return {"y": x * 2.0}

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")]
    )
    def fast(self, x: Any) -> Any:
        return {"y": recurrent(x)}


def test_signature_without_kernel_is_left_out(tmp_path: Path) -> None:
    module = Two()
    signatures = {"double": module.double, "serving_default": module.fast}
    tf.saved_model.save(module, tmp_path / "model", signatures=signatures)
    manifest = compiled(tmp_path / "model", tmp_path).read_manifest()

    assert list(manifest.signatures) == ["double"]
    assert manifest.default_signature == "serving_default"
    assert "CudnnRNN" in manifest.left_out["serving_default"]


def behind(x: Any, work: Callable[[Any], Any]) -> Any:
    """Build `work` in a function, which TensorFlow instantiates at its first call.

    No generated input passes the operations before it.
    """
    fits_none = tf.reshape(tf.reshape(x, [7, 4, 11]), [-1, 4])
    return tf.function(work)(fits_none)


def looped(x: Any) -> Any:
    return tf.while_loop(lambda each: True, recurrent_rows, [x], maximum_iterations=2)


def recurrent_rows(x: Any) -> list[Any]:
    return [tf.reduce_sum(recurrent(x)) + x]


def logarithmic(x: Any) -> Any:
    return tf.math.lgamma(tf.cast(x, "bfloat16"))


def pooled(x: Any) -> Any:
    solid = tf.cast(x, "float64")[:, None, None, None, :]
    ones = [1] * 5
    return tf.raw_ops.AvgPool3D(input=solid, ksize=ones, strides=ones, padding="SAME")


UNREACHED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "in_a_function": (recurrent, r"\(CudnnRNN\).* CPU of float32\. cuDNN's layers"),
    "in_a_loop": (looped, r"\(CudnnRNN\)"),
    "of_a_dtype": (logarithmic, r"\(Lgamma\).* CPU of bfloat16\. Export the model"),
    "of_another": (pooled, r"\(AvgPool3D\).* CPU of float64\. Export the model"),
}


@pytest.mark.parametrize("name", UNREACHED)
def test_missing_kernel_behind_rejected_samples_is_refused(
    tmp_path: Path, name: str
) -> None:
    work, said = UNREACHED[name]
    path = frozen(tmp_path / "model.pb", lambda x: behind(x, work))

    with pytest.raises(InvalidModel, match=said):
        compiled(path, tmp_path)


@tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
def by_xla(x: Any) -> Any:
    return x * 2.0


RUNNING: dict[str, Callable[[Any], Any]] = {
    "plain": lambda x: x * 2.0,
    "by_xla": by_xla,
    "replaced": lambda x: tf.raw_ops.AccumulateNV2(inputs=[x, x], shape=[77, 4]),
    "in_a_branch": lambda x: tf.cond(
        tf.reduce_sum(x) > 0, lambda: tf.reduce_sum(recurrent(x)) + x, lambda: x
    ),
}


@pytest.mark.parametrize("name", RUNNING)
def test_model_without_accepted_sample_is_served(tmp_path: Path, name: str) -> None:
    path = frozen(tmp_path / "model.pb", lambda x: behind(x, RUNNING[name]))
    manifest = compiled(path, tmp_path).read_manifest()

    assert "accepted no sample inputs" in manifest.notes[0]


BRANCHES: dict[str, Callable[[Any], Any]] = {
    "the_first_sample_takes": lambda x: tf.reduce_sum(x) > 0,
    "the_first_sample_leaves": lambda x: tf.reduce_sum(x) <= 0,
    "later_samples_take": lambda x: tf.reduce_max(x) > 5,
}


@pytest.mark.parametrize("name", BRANCHES)
def test_missing_kernel_in_a_branch_is_accepted(tmp_path: Path, name: str) -> None:
    """A branch's function is instantiated when it is first called, or never."""
    slow = tf.function(lambda x: tf.reduce_sum(recurrent(x)) + x)

    def build(x: Any) -> Any:
        other = tf.reduce_sum(x * 0.0, 1, keepdims=True) + tf.zeros([1, 4])
        return tf.cond(BRANCHES[name](x), lambda: slow(x), lambda: other)

    with compiled_model(tmp_path, build) as servable:
        inputs = {"x": np.full((2, 4), -1 if "takes" in name else 1, "float32")}
        inputs["x"] *= -1 if name == "later_samples_take" else 1
        answers = servable.run("serving_default", inputs)

    assert answers["y/out"].tolist() == [[0.0] * 4] * 2


def compiled_model(folder: Path, build: Callable[[Any], Any]) -> Servable:
    return Servable(compiled(frozen(folder / "model.pb", build), folder))


def test_input_error_is_not_a_missing_kernel() -> None:
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf.float32, None, "x")

        with pytest.raises(tf.errors.InvalidArgumentError) as error:
            session.run(tf.linalg.matmul(x, x), {x: np.ones((2, 3), "float32")})

    assert missing_kernel_reason(error.value) is None
    assert unimplemented_reason(error.value) is None
