"""Outputs of inner layers, as Keras 2 and Keras 3 compute them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tf_keras

from inference.backend import tf
from inference.errors import InvalidSidecar
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, compile_path, floats

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array

    Answers = dict[str, Array]

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept"),
    pytest.mark.filterwarnings("ignore:Layer '.*was passed an input with a mask"),
]

KINDS = [
    pytest.param(keras, ".keras", id="Keras 3 zip"),
    pytest.param(keras, ".h5", id="Keras 3 HDF5"),
    pytest.param(tf_keras, ".keras", id="Keras 2 zip"),
    pytest.param(tf_keras, ".h5", id="Keras 2 HDF5"),
]
EACH_KERAS = [KINDS[0], KINDS[3]]
"""For what doesn't depend on the file: how it is read is tested with other models."""
PICTURE = (8, 8, 3)


def pictures(k: Any) -> Any:
    L = k.layers
    x = k.Input(PICTURE, name="picture")
    y = L.Conv2D(4, 3, name="conv")(x)
    y = L.BatchNormalization(name="norm", moving_mean_initializer="ones")(y)
    y = L.ReLU(name="relu")(y)
    y = L.GlobalAveragePooling2D(name="pool")(y)
    return k.Model(x, L.Dense(5, activation="softmax", name="probs")(y))


def body(k: Any, name: str = "body") -> Any:
    L = k.layers
    x = k.Input((6,), name=f"{name}_in")
    y = L.Dense(4, activation="tanh", name="first")(x)
    return k.Model(x, L.Dense(6, name="second")(y), name=name)


def stack(k: Any) -> Any:
    L = k.layers
    return k.Sequential(
        [k.Input((6,)), L.Dense(4, activation="relu", name="hidden"), L.Dense(2)],
        name="stack",
    )


def served(
    folder: Path, model: Any, suffix: str, layers: str, outputs: list[str], x: Array
) -> Answers:
    """Return `outputs` as the compiled model computes them."""
    path, sidecar = folder / f"model{suffix}", folder / "model.toml"
    model.save(path)
    sidecar.write_text(f"layers = {layers}")

    with Servable(compile_path(path, folder / "artifact", sidecar)) as servable:
        (name,) = servable.signatures["serving_default"].inputs
        return servable.run("serving_default", {name: x}, outputs)


def agree(given: Array, wanted: Any) -> None:
    np.testing.assert_allclose(given, np.asarray(wanted), atol=1e-5)


@pytest.mark.parametrize(("k", "suffix"), KINDS)
def test_inner_layers_answer_as_keras_does(tmp_path: Path, k: Any, suffix: str) -> None:
    model, x, names = pictures(k), floats(3, *PICTURE), ["conv", "norm", "pool"]
    found = served(tmp_path, model, suffix, f"{names}", [*names, "probs"], x)

    for name in [*names, "probs"]:
        own = k.Model(model.inputs[0], model.get_layer(name).output)
        agree(found[name], own(x, training=False))


@pytest.mark.parametrize(("k", "suffix"), EACH_KERAS)
def test_all_layers_are_outputs_that_only_a_name_asks_for(
    tmp_path: Path, k: Any, suffix: str
) -> None:
    path, sidecar = tmp_path / f"model{suffix}", tmp_path / "model.toml"
    model = pictures(k)
    model.save(path)
    sidecar.write_text('layers = "all"')

    with Servable(compile_path(path, tmp_path / "artifact", sidecar)) as servable:
        signature = servable.signatures["serving_default"]
        x = floats(2, *PICTURE)
        usual = servable.run("serving_default", {"picture": x})

    assert list(signature.outputs) == ["probs", "conv", "norm", "relu", "pool"]
    assert signature.usual == ("probs",)
    assert signature.batchable
    assert signature.alone == ()
    assert list(usual) == ["probs"]
    agree(usual["probs"], model(x, training=False))


@pytest.mark.parametrize(("k", "suffix"), EACH_KERAS)
def test_layers_of_nested_models_by_path(tmp_path: Path, k: Any, suffix: str) -> None:
    inner, deep = body(k), stack(k)
    x = k.Input((6,), name="x")
    middle = k.Model(x, k.layers.Add(name="sum")([deep(x), deep(2 * x)]), name="middle")
    y = k.Input((6,), name="y")
    model = k.Model(y, middle(inner(y)))
    names = ["body/first", "middle/stack/hidden", "middle/stack@1/hidden"]
    values = floats(4, 6)
    found = served(tmp_path, model, suffix, f"{names}", names, values)

    first = k.Model(inner.inputs[0], inner.get_layer("first").output)
    hidden = k.Model(deep.inputs[0], deep.get_layer("hidden").output)
    between = inner(values)
    agree(found["body/first"], first(values))
    agree(found["middle/stack/hidden"], hidden(between))
    agree(found["middle/stack@1/hidden"], hidden(2 * between))


@pytest.mark.parametrize(("k", "suffix"), EACH_KERAS)
def test_each_call_of_a_shared_layer_has_its_name(
    tmp_path: Path, k: Any, suffix: str
) -> None:
    x = k.Input((4,), name="x")
    dense = k.layers.Dense(4, activation="tanh", name="dense")
    model = k.Model(x, k.layers.Dense(2, name="end")(dense(dense(x))))
    values = floats(3, 4)
    names = ["dense", "dense@1"]
    found = served(tmp_path, model, suffix, f"{names}", names, values)

    agree(found["dense"], dense(values))
    agree(found["dense@1"], dense(dense(values)))


@pytest.mark.parametrize(("k", "suffix"), EACH_KERAS)
def test_each_output_of_a_layer_has_its_name(
    tmp_path: Path, k: Any, suffix: str
) -> None:
    x = k.Input((5, 3), name="x")
    lstm = k.layers.LSTM(4, return_state=True, return_sequences=True, name="lstm")
    model = k.Model(x, k.layers.Dense(2, name="end")(lstm(x)[0]))
    values = floats(3, 5, 3)
    names = ["lstm", "lstm:1", "lstm:2"]
    found = served(tmp_path, model, suffix, f"{names}", names, values)

    for name, wanted in zip(names, lstm(values), strict=True):
        agree(found[name], wanted)


@pytest.mark.parametrize(("k", "suffix"), EACH_KERAS)
def test_masks_reach_inner_layers(tmp_path: Path, k: Any, suffix: str) -> None:
    # The simplest layer that heeds a mask: an LSTM of Keras 2 takes seconds to load.
    L = k.layers
    ids = k.Input((5,), name="ids", dtype="int32")
    inner_in = k.Input((5, 3), name="rows")
    inner = k.Model(
        inner_in,
        L.Dense(2, name="last")(L.SimpleRNN(4, name="rnn")(inner_in)),
        name="inner",
    )
    model = k.Model(ids, inner(L.Embedding(9, 3, mask_zero=True, name="words")(ids)))
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0]], "int32")
    found = served(tmp_path, model, suffix, '["inner/rnn"]', ["inner/rnn", "inner"], x)
    words = model.get_layer("words")
    rnn = inner.get_layer("rnn")
    mask = words.compute_mask(tf.constant(x))

    agree(found["inner/rnn"], rnn(words(x), mask=mask))
    agree(found["inner"], model(x))


@pytest.mark.parametrize(("k", "suffix"), KINDS)
def test_a_stacks_layers(tmp_path: Path, k: Any, suffix: str) -> None:
    model, x = stack(k), floats(2, 6)
    found = served(tmp_path, model, suffix, '"all"', ["hidden"], x)

    agree(found["hidden"], model.get_layer("hidden")(x))


def listed(path: Path, model: Any) -> dict[str, Any]:
    model.save(path)

    with open_source(path, Sidecar()) as source:
        return source.layers


@pytest.mark.parametrize(("k", "suffix"), KINDS)
def test_layers_are_listed_with_their_shapes(
    tmp_path: Path, k: Any, suffix: str
) -> None:
    x = k.Input((6,), name="x")
    model = k.Model(x, k.layers.Dense(3, name="end")(body(k)(x)))

    assert listed(tmp_path / f"model{suffix}", model) == {
        "body": (None, 6),
        "end": (None, 3),
        "body/first": (None, 4),
        "body/second": (None, 6),
    }


def refused(path: Path, model: Any, *layers: str) -> str:
    model.save(path)

    with (
        pytest.raises(InvalidSidecar) as caught,
        open_source(path, Sidecar(layers=layers)),
    ):
        pass

    return str(caught.value)


@pytest.mark.parametrize(("k", "suffix"), EACH_KERAS)
def test_a_wrong_name_is_refused_with_the_nearest(
    tmp_path: Path, k: Any, suffix: str
) -> None:
    text = refused(tmp_path / f"model{suffix}", pictures(k), "conw")

    assert "no layer 'conw'" in text
    assert "conv" in text
    assert "tandem inspect --layers" in text


def test_a_name_that_means_another_output_of_the_model_is_refused(
    tmp_path: Path,
) -> None:
    x = keras.Input((5, 3))
    _, state, _ = keras.layers.LSTM(4, return_state=True, name="lstm")(x)
    text = refused(tmp_path / "model.keras", keras.Model(x, state), "lstm")

    assert "'lstm' is the name of an output of the model" in text


def test_a_graph_has_no_layers(tmp_path: Path) -> None:
    def build() -> object:
        x = tf.compat.v1.placeholder("float32", [None, 2], name="x")
        return tf.identity(x, name="y")

    with pytest.raises(InvalidSidecar, match="for Keras files"):
        compile_graph(tmp_path, build, 'layers = ["y"]')
