"""State in loops, branches, generators and tables: no request sees another's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from inference.errors import InvalidModel, InvalidSidecar
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path, old_control_flow, write_saved_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from inference.types import Array

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5"),
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
]

ROWS = tf.TensorSpec([None, 2], tf.float32, name="x")
FLAG = tf.TensorSpec([], tf.bool, name="training")


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def servable(path: Path, folder: Path, sidecar: str = "") -> Servable:
    beside = folder / "model.toml"
    beside.write_text(sidecar)
    return Servable(compile_path(path, folder / "artifact", beside))


def ask(served: Servable, signature: str = "", /, **inputs: Array) -> dict[str, Array]:
    """Return the outputs, with the default of each input that isn't given."""
    name = signature or served.manifest.default_signature
    defaults = {
        each.name: each.default
        for each in served.signatures[name].inputs.values()
        if each.default is not None
    }
    return served.run(name, defaults | inputs)


class Remembering(tf.Module):  # type: ignore[misc]
    """A module that returns `x` and its state, which `body` may have changed before."""

    def __init__(self, body: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.memory = tf.Variable(1.0)

        def answer(x: Any) -> dict[str, Any]:
            body(self.memory, x)
            return {"y": x + self.memory}

        self.answer = tf.function(answer, input_signature=[ROWS])


def in_a_branch(memory: Any, x: Any) -> None:
    if tf.reduce_max(x) > 5.0:
        memory.assign(tf.reduce_max(x))


def in_both_branches(memory: Any, x: Any) -> None:
    if tf.reduce_max(x) > 5.0:
        memory.assign_add(2.0)
    else:
        memory.assign_sub(memory * 0.5)


def in_a_loop(memory: Any, x: Any) -> None:
    for _ in tf.range(3):
        memory.assign_add(tf.reduce_max(x) + memory)


def in_a_branch_of_a_loop(memory: Any, x: Any) -> None:
    for step in tf.range(4):
        if step % 2 == 0:
            memory.assign(memory * 2.0)

        memory.assign_add(tf.reduce_max(x))


def in_one_of_several(memory: Any, x: Any) -> None:
    ways = [
        lambda: memory.assign(7.0),
        lambda: memory.assign_add(3.0),
        memory.read_value,
    ]
    tf.switch_case(tf.cast(tf.reduce_max(x), tf.int32) % 3, ways)


@pytest.mark.parametrize(
    "body",
    [
        in_a_branch,
        in_both_branches,
        in_a_loop,
        in_a_branch_of_a_loop,
        in_one_of_several,
    ],
)
def test_hidden_writes_are_local_to_the_call(
    tmp_path: Path, body: Callable[[Any, Any], Any]
) -> None:
    module = Remembering(body)
    tf.saved_model.save(module, tmp_path / "model", signatures=module.answer)
    steps = [np.full((1, 2), value, "float32") for value in (1.0, 9.0, 2.0, 1.0)]
    fresh = []

    for x in steps:
        module.memory.assign(1.0)
        fresh.append(module.answer(tf.constant(x))["y"].numpy())

    with servable(tmp_path / "model", tmp_path) as served:
        answers = [ask(served, x=x)["y"] for x in steps]

    np.testing.assert_allclose(answers, fresh, rtol=1e-6)


@pytest.mark.parametrize("body", [in_both_branches, in_a_branch_of_a_loop])
def test_hidden_state_can_be_carried(
    tmp_path: Path, body: Callable[[Any, Any], Any]
) -> None:
    module = Remembering(body)
    tf.saved_model.save(module, tmp_path / "model", signatures=module.answer)
    steps = [np.full((1, 2), value, "float32") for value in (1.0, 9.0, 2.0)]
    sequence = [module.answer(tf.constant(x))["y"].numpy() for x in steps]
    state: dict[str, Array] = {}

    with servable(tmp_path / "model", tmp_path, "carry_state = true\n") as served:
        for x, wanted in zip(steps, sequence, strict=True):
            answer = ask(served, x=x, **state)
            state = {"state": answer["state"]}

            np.testing.assert_allclose(answer["y"], wanted, rtol=1e-6)


def test_batch_norm_update_on_demand_is_dropped(tmp_path: Path) -> None:
    layer = tf_keras.layers.BatchNormalization()
    layer.build((None, 2))
    module = tf.Module()
    module.layer = layer
    module.answer = tf.function(
        lambda x, training: {"y": layer(x, training=training)},
        input_signature=[ROWS, FLAG],
    )
    tf.saved_model.save(module, tmp_path / "model", signatures=module.answer)
    x = floats(4, 2)
    no, yes = np.array(False), np.array(True)
    wanted = module.answer(tf.constant(x), tf.constant(False))["y"]

    with servable(tmp_path / "model", tmp_path) as served:
        first = ask(served, x=x, training=no)["y"]
        trained = ask(served, x=x * 9 + 4, training=yes)["y"]
        again = ask(served, x=x, training=no)["y"]

    assert abs(trained.mean()) < 1e-3
    np.testing.assert_allclose(first, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(first, again)


def test_state_written_in_each_loop_step(tmp_path: Path) -> None:
    tf_keras.utils.set_random_seed(1)
    inner = tf_keras.layers.LSTM(2, stateful=True)
    inputs = tf_keras.Input(batch_shape=(1, 4, 3, 2), name="x")
    model = tf_keras.Model(inputs, tf_keras.layers.TimeDistributed(inner)(inputs))
    model.reset_states()
    model.save(tmp_path / "model.h5")
    x = floats(1, 4, 3, 2)
    read = tf_keras.models.load_model(tmp_path / "model.h5", compile=False)
    wanted = read(x, training=False)

    with servable(tmp_path / "model.h5", tmp_path) as served:
        answers = [ask(served, x=x)["time_distributed"] for _ in range(2)]

    np.testing.assert_allclose(answers, [wanted, wanted], rtol=1e-5, atol=1e-6)


def test_dropout_beside_state_draws_new_numbers(tmp_path: Path) -> None:
    inputs = keras.Input(batch_shape=(2, 3, 40), name="x")
    dropped = keras.layers.Dropout(0.5, seed=1)(inputs, training=True)
    last = keras.layers.GRU(2, stateful=True)(inputs)
    model = keras.Model(inputs, {"dropped": dropped, "last": last})
    wanted = np.asarray(model(floats(2, 3, 40))["last"])
    model.layers[-1].reset_states()
    signature = [keras.InputSpec(shape=(2, 3, 40), dtype="float32")]
    model.export(tmp_path / "model", input_signature=signature, verbose=False)

    with servable(tmp_path / "model", tmp_path) as served:
        name = next(iter(served.signatures["serving_default"].inputs))
        first, second = (ask(served, **{name: floats(2, 3, 40)}) for _ in range(2))

    assert (first["dropped"] != second["dropped"]).any()
    np.testing.assert_allclose(first["last"], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(second["last"], wanted, rtol=1e-5, atol=1e-6)


def test_unneeded_state_has_no_name(tmp_path: Path) -> None:
    layer = keras.layers.LSTM(2, stateful=True, dropout=0.5)
    first = keras.Input(batch_shape=(1, 3, 2), name="x")
    keras.Sequential([first, layer]).save(tmp_path / "model.keras")

    with servable(tmp_path / "model.keras", tmp_path, "carry_state = true\n") as served:
        shapes = {
            name: spec.shape
            for name, spec in served.signatures["serving_default"].inputs.items()
        }

    assert shapes == {"x": (1, 3, 2), "state": (1, 2), "state_1": (1, 2)}


class Shelf(tf.Module):  # type: ignore[misc]
    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.kept = tf.Variable(tf.zeros([size]))

    @tf.function(input_signature=[ROWS])  # type: ignore[untyped-decorator]
    def put(self, x: Any) -> Any:
        self.kept.assign(self.kept + tf.reduce_sum(x))
        return {"y": self.kept.read_value()}

    @tf.function(input_signature=[ROWS])  # type: ignore[untyped-decorator]
    def get(self, x: Any) -> Any:
        return {"y": x + self.kept[:2]}


def test_reading_signature_takes_another_signatures_state(tmp_path: Path) -> None:
    module = Shelf()
    signatures = {"put": module.put, "get": module.get}
    tf.saved_model.save(module, tmp_path / "model", signatures=signatures)
    x = np.ones((1, 2), "float32")

    with servable(tmp_path / "model", tmp_path, "carry_state = true\n") as served:
        put = ask(served, "put", x=x)
        got = ask(served, "get", x=x, state=put["state"])
        fresh = ask(served, "get", x=x)

    assert put["state"].tolist() == [2.0, 2.0]
    assert got["y"].tolist() == [[3.0, 3.0]]
    assert fresh["y"].tolist() == [[1.0, 1.0]]


def test_state_too_large_to_carry_is_refused(tmp_path: Path) -> None:
    module = Shelf(size=2**19)
    tf.saved_model.save(module, tmp_path / "model", signatures=module.put)

    with pytest.raises(InvalidSidecar, match=r"2,097,152 bytes"):
        servable(tmp_path / "model", tmp_path, "carry_state = true\n")


def branch_of_tensorflow_1(*, read: bool) -> Callable[[], Any]:
    def build() -> Any:
        x = tf.compat.v1.placeholder(tf.float32, [None, 2], name="x")
        memory = tf.compat.v1.get_variable("memory", initializer=1.0, use_resource=True)
        noted = tf.compat.v1.cond(
            tf.reduce_max(x) > 5.0,
            lambda: tf.group(memory.assign(tf.reduce_max(x))),
            tf.no_op,
        )
        before = memory.read_value()

        with tf.control_dependencies([noted]):
            y = x + (memory.read_value() if read else before)

        return {"x": x}, {"y": y}

    return build


def test_write_in_a_tf1_branch_is_dropped(tmp_path: Path) -> None:
    with old_control_flow():
        write_saved_model(tmp_path / "model", branch_of_tensorflow_1(read=False))

    with servable(tmp_path / "model", tmp_path) as served:
        answers = [
            ask(served, x=np.full((1, 2), value, "float32"))["y"][0, 0]
            for value in (1.0, 9.0, 1.0)
        ]

    assert answers == [2.0, 10.0, 2.0]


def test_tf1_branch_write_read_afterwards_is_refused(tmp_path: Path) -> None:
    with old_control_flow():
        write_saved_model(tmp_path / "model", branch_of_tensorflow_1(read=True))

    with pytest.raises(InvalidModel, match="requests would share state"):
        servable(tmp_path / "model", tmp_path)
