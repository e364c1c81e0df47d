"""Checkpoints of TensorFlow 1, against the session that saved them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path
from tests.support.saved_checkpoints import ROWS, dense, save, variable
from tests.support.trained import answer, defaults

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Build = Callable[[Any], Any]


def of_resources(x: Any) -> Any:
    return x @ variable("kernel", 4, 3, resource=True)


def with_a_loop(x: Any) -> Any:
    kernel = variable("kernel", 4, 4)
    return tf.while_loop(
        lambda step, _: step < 3,
        lambda step, value: (step + 1, tf.tanh(value @ kernel)),
        (0, x),
    )[1]


def gathered(x: Any) -> Any:
    return x + tf.gather(variable("table", 5, 4), tf.argmax(x, 1))


def in_partitions(x: Any) -> Any:
    with tf1.variable_scope("", partitioner=tf1.fixed_size_partitioner(2)):
        kernel = tf1.get_variable(
            "kernel",
            [4, 3],
            initializer=tf1.random_normal_initializer(seed=3),
            use_resource=False,
        )

    return x @ tf.convert_to_tensor(kernel)


@pytest.mark.parametrize(
    "build", [dense, of_resources, with_a_loop, gathered, in_partitions]
)
def test_checkpoint_matches_its_session(tmp_path: Path, build: Build) -> None:
    right = save(tmp_path / "model.ckpt", build)

    with open_source(tmp_path / "model.ckpt.meta", Sidecar()) as source:
        assert list(source.signatures["serving_default"].outputs) == ["result"]
        np.testing.assert_allclose(answer(source, x=ROWS), right, atol=1e-5)


def test_checkpoint_is_compiled(tmp_path: Path) -> None:
    right = save(tmp_path / "model.ckpt", dense, global_step=1234)
    path = tmp_path / "model.ckpt-1234.meta"
    artifact = compile_path(path, tmp_path / "artifact")

    with Servable(artifact) as servable:
        given = servable.run("serving_default", {"x": ROWS})["result"]

    manifest = artifact.read_manifest()
    np.testing.assert_allclose(given, right, atol=1e-5)
    assert manifest.optimization == "full"
    assert manifest.source_format == "TF1 checkpoint"
    assert manifest.signatures["serving_default"].batchable


def trained(x: Any) -> Any:
    """Build a model with its loss, its optimizer, a step counter and summaries."""
    probabilities = dense(x)
    labels = tf1.placeholder(tf.int32, [None], "labels")
    chances = tf.gather(probabilities, labels, axis=1, batch_dims=1)
    loss = tf.reduce_mean(-tf.math.log(chances))
    step = tf1.train.get_or_create_global_step()
    tf1.train.AdamOptimizer().minimize(loss, global_step=step)
    tf1.summary.scalar("loss", loss)
    tf1.summary.merge_all()
    return probabilities


def test_training_and_saving_operations_are_dropped(tmp_path: Path) -> None:
    right = save(tmp_path / "flowers", trained)

    with open_source(tmp_path / "flowers.meta", Sidecar()) as source:
        assert defaults(source) == {"x": None}
        assert list(source.signatures["serving_default"].outputs) == ["result"]
        assert len(source.variables) == 2
        np.testing.assert_allclose(answer(source, x=ROWS), right, atol=1e-5)


def test_metrics_of_labels_are_not_outputs(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        probabilities = dense(x)
        labels = tf1.placeholder(tf.int64, [None], "labels")
        right = tf.equal(tf.argmax(probabilities, 1), labels)
        tf.reduce_mean(tf.cast(right, tf.float32), name="accuracy")
        tf.reduce_mean(probabilities, 0, name="level")
        return probabilities

    save(tmp_path / "flowers", build, feeds={"labels": [0, 1, 2]})

    with open_source(tmp_path / "flowers.meta", Sidecar()) as source:
        assert defaults(source) == {"x": None}
        assert set(source.signatures["serving_default"].outputs) == {"level", "result"}


def measured_and_added(x: Any) -> Any:
    """Build a loss with a penalty, a switch passed on and a size, without readers."""
    flag = tf1.placeholder(tf.bool, [], "is_training")
    noise = tf1.random_uniform(tf.shape(x))
    answer = dense(tf1.cond(flag, lambda: x * noise, lambda: x))
    labels = tf1.placeholder(tf.float32, [None, 3], "labels")
    error = tf.reduce_mean(tf.square(answer - labels))
    tf.add(error, 0.1 * tf.nn.l2_loss(answer), name="loss")
    tf.identity(flag, name="pred_id")
    tf.shape(labels, name="size")
    return answer


def test_losses_sizes_and_switches_are_not_outputs(tmp_path: Path) -> None:
    feeds = {"is_training": False}
    right = save(tmp_path / "model.ckpt", measured_and_added, feeds=feeds)

    with open_source(tmp_path / "model.ckpt.meta", Sidecar()) as source:
        signature = source.signatures["serving_default"]
        assert (signature.required, list(signature.outputs)) == (["x"], ["result"])
        np.testing.assert_allclose(answer(source, x=ROWS), right, atol=1e-5)


def counted(x: Any) -> Any:
    """Build a running metric, which keeps its counts in unsaved variables."""
    answer = dense(x)
    _, update = tf1.metrics.mean(answer, name="running")
    tf.identity(update, name="mean")
    return answer


def test_outputs_of_unsaved_variables_are_dropped(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        result = counted(x)
        tf1.get_default_session().run(tf1.local_variables_initializer())
        return result

    right = save(tmp_path / "model.ckpt", build)

    with open_source(tmp_path / "model.ckpt.meta", Sidecar()) as source:
        assert list(source.signatures["serving_default"].outputs) == ["result"]
        np.testing.assert_allclose(answer(source, x=ROWS), right, atol=1e-5)


def test_graph_with_only_a_loss_is_refused(tmp_path: Path) -> None:
    def loss(x: Any) -> Any:
        labels = tf1.placeholder_with_default(np.ones((3, 3), "float32"), [3, 3])
        tf1.placeholder(tf.float32, [None, 3], "labels")
        given = tf1.get_default_graph().get_tensor_by_name("labels:0")
        return tf.reduce_mean(tf.square(dense(x) - given - labels))

    save(tmp_path / "model.ckpt", loss, feeds={"labels": np.ones((3, 3))})

    with (
        pytest.raises(
            InvalidModel, match=r"only output of the graph is a metric \('result:0'\)"
        ),
        open_source(tmp_path / "model.ckpt.meta", Sidecar()),
    ):
        pass


LOSSES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "mean square": lambda given, wanted, _: tf.reduce_mean((given - wanted) ** 2),
    "its root": lambda given, wanted, _: tf.sqrt(tf.reduce_mean((given - wanted) ** 2)),
    "logarithms": lambda given, wanted, _: -tf.reduce_sum(wanted * tf.math.log(given)),
    "tf.losses": lambda given, wanted, _: tf1.losses.mean_squared_error(wanted, given),
    "with a penalty": lambda given, wanted, weights: (
        tf.reduce_mean((given - wanted) ** 2) + 0.001 * tf.nn.l2_loss(weights)
    ),
}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "gradient descent": lambda: tf1.train.GradientDescentOptimizer(0.1),
    "Adam": lambda: tf1.train.AdamOptimizer(),
    "momentum": lambda: tf1.train.MomentumOptimizer(0.1, 0.9),
    "RMSProp": lambda: tf1.train.RMSPropOptimizer(0.1),
    "none": lambda: None,
}


def trained_by(optimizer: str, loss: str) -> Callable[[Any], Any]:
    def build(x: Any) -> Any:
        wanted = tf1.placeholder(tf.float32, [None, 3], "labels")
        given = tf.nn.softmax(dense(x), name="pred")
        error = LOSSES[loss](given, wanted, tf1.trainable_variables()[0])
        tf1.summary.merge([tf1.summary.scalar("loss", error)])
        made = OPTIMIZERS[optimizer]()

        if made is not None:
            gradients = made.compute_gradients(error)
            clipped = [(tf.clip_by_norm(each, 1.0), kept) for each, kept in gradients]
            made.apply_gradients(clipped, tf1.train.get_or_create_global_step())

        return error

    return build


@pytest.mark.parametrize(
    ("optimizer", "loss"),
    [
        *((optimizer, "mean square") for optimizer in OPTIMIZERS),
        *(("Adam", loss) for loss in LOSSES if loss != "mean square"),
    ],
)
def test_a_graph_that_compares_its_answer_with_labels_is_refused_by_its_name(
    tmp_path: Path, optimizer: str, loss: str
) -> None:
    build = trained_by(optimizer, loss)
    save(tmp_path / "model.ckpt", build, feeds={"labels": np.ones((3, 3))})

    with (
        pytest.raises(InvalidModel, match="It is computed from 'pred'"),
        open_source(tmp_path / "model.ckpt.meta", Sidecar()),
    ):
        pass

    sidecar = Sidecar.model_validate(
        {"signatures": {"serving_default": {"outputs": ["pred"]}}}
    )

    with open_source(tmp_path / "model.ckpt.meta", sidecar) as source:
        signature = source.signatures["serving_default"]
        assert (list(signature.inputs), list(signature.outputs)) == (["x"], ["pred"])


def normalised(x: Any) -> Any:
    """Build a batch norm whose updates are in the training branch."""
    flag = tf1.placeholder(tf.bool, name="mode")
    mean = variable("mean", 4)
    batch = tf.reduce_mean(x, 0)

    def train() -> Any:
        return tf1.assign_sub(mean, 0.1 * (mean - batch)) * 1.0

    return x - tf1.cond(flag, train, lambda: tf.identity(mean))


def test_training_branch_is_cut(tmp_path: Path) -> None:
    right = save(tmp_path / "flowers", normalised, feeds={"mode": False})

    with open_source(tmp_path / "flowers.meta", Sidecar()) as source:
        assert defaults(source) == {"x": None}
        np.testing.assert_allclose(answer(source, x=ROWS), right, atol=1e-5)


def test_saver_may_rename_values(tmp_path: Path) -> None:
    def saver() -> Any:
        first, second = tf1.global_variables()
        return tf1.train.Saver({"average/kernel": first, "b": second})

    right = save(tmp_path / "flowers", dense, saver=saver)

    with open_source(tmp_path / "flowers.meta", Sidecar()) as source:
        np.testing.assert_allclose(answer(source, x=ROWS), right, atol=1e-5)


def test_sidecar_may_name_outputs(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        hidden = tf.identity(x @ variable("kernel", 4, 3), name="hidden")
        return tf.nn.softmax(hidden)

    save(tmp_path / "flowers", build)
    sidecar = Sidecar.model_validate(
        {"signatures": {"serving_default": {"outputs": ["hidden"]}}}
    )

    with open_source(tmp_path / "flowers.meta", sidecar) as source:
        assert list(source.signatures["serving_default"].outputs) == ["hidden"]


def read(path: Path) -> None:
    with open_source(path, Sidecar()):
        pass


def test_weights_of_another_graph_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "flowers", dense)
    save(tmp_path / "other", lambda x: x @ variable("kernel", 4, 5))

    for piece in tmp_path.glob("other.[id]*"):
        piece.rename(tmp_path / piece.name.replace("other", "flowers"))

    with pytest.raises(InvalidModel, match="'kernel' is|variable 'bias'"):
        read(tmp_path / "flowers.meta")


def test_file_reading_operation_is_refused(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        text = tf.io.read_file("/etc/hostname")
        return dense(x) + tf.cast(tf.strings.length(text), tf.float32)

    save(tmp_path / "flowers", build)

    with pytest.raises(InvalidModel, match="ReadFile"):
        read(tmp_path / "flowers.meta")


def test_saver_operations_are_never_run(tmp_path: Path) -> None:
    right = save(tmp_path / "flowers", dense)
    path = tmp_path / "flowers.meta"
    meta_graph = tf1.MetaGraphDef.FromString(path.read_bytes())
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    elsewhere = tf.make_tensor_proto(str(tmp_path / "elsewhere"))
    nodes["save/Const"].attr["value"].tensor.CopyFrom(elsewhere)
    nodes["save/Const"].op = "Const"
    del nodes["save/Const"].input[:]
    path.write_bytes(meta_graph.SerializeToString())

    with open_source(path, Sidecar()) as source:
        np.testing.assert_allclose(answer(source, x=ROWS), right, atol=1e-5)


@pytest.mark.parametrize("content", [b"{}", b"\x00\x01garbage", b"\x0a\x02\x08\x01"])
def test_invalid_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    save(tmp_path / "flowers", dense)
    (tmp_path / "flowers.meta").write_bytes(content)

    with pytest.raises(InvalidModel, match=r"flowers\.meta"):
        read(tmp_path / "flowers.meta")


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "flowers", lambda x: x @ variable("kernel", 4, 300))
    data = tmp_path / "flowers.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])

    with pytest.raises(InvalidModel, match="truncated"):
        read(tmp_path / "flowers.meta")


def test_table_is_refused_with_remedy(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        filled = tf.lookup.KeyValueTensorInitializer([0, 1], [1.0, 2.0])
        table = tf.lookup.StaticHashTable(filled, 0.0)
        return x + table.lookup(tf.cast(x, tf.int32)) + variable("bias", 4)

    save(tmp_path / "flowers", build)

    with pytest.raises(InvalidModel, match="lookup table"):
        read(tmp_path / "flowers.meta")
