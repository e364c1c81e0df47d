"""Dropout at inference, as Keras 2 and Keras 3 compute it with the same masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tf_keras

from inference.backend import tf
from inference.errors import InvalidSidecar
from inference.formats.keras.draws import drawn_from
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, compile_path, floats

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array

pytestmark = [
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept"),
]

KINDS = [
    pytest.param(keras, ".keras", id="Keras 3 zip"),
    pytest.param(keras, ".h5", id="Keras 3 HDF5"),
    pytest.param(tf_keras, ".keras", id="Keras 2 zip"),
    pytest.param(tf_keras, ".h5", id="Keras 2 HDF5"),
]
EACH_KERAS = [KINDS[0], KINDS[3]]
"""For what doesn't depend on the file: how it is read is tested with other models."""
ON = np.array(True)


def noisy(k: Any) -> Any:
    """Return a model of all kinds of dropout and a batch normalisation."""
    L = k.layers
    x = k.Input((6, 4), name="x")
    y = L.Dense(8, name="dense")(x)
    y = L.BatchNormalization(
        name="norm", moving_mean_initializer="ones", gamma_initializer="ones"
    )(y)
    y = L.SpatialDropout1D(0.3, name="whole")(y)
    y = L.GaussianNoise(0.2, name="noise")(L.GaussianDropout(0.2, name="scale")(y))
    y = L.LSTM(5, dropout=0.4, name="lstm")(y)
    inner = k.Sequential([k.Input((5,)), L.Dense(5), L.Dropout(0.5)], name="inner")
    return k.Model(x, L.Dense(3, name="end")(L.Dropout(0.5, name="drop")(inner(y))))


def compiled(folder: Path, model: Any, suffix: str) -> Servable:
    path, sidecar = folder / f"model{suffix}", folder / "model.toml"
    model.save(path)
    sidecar.write_text('training = "optional"')
    return Servable(compile_path(path, folder / "artifact", sidecar))


def run(servable: Servable, x: Array, **optional: Array) -> Array:
    (name,) = servable.signatures["serving_default"].required
    (value,) = servable.run("serving_default", {name: x, **optional}).values()
    return value


@pytest.mark.parametrize(("k", "suffix"), EACH_KERAS)
def test_dropout_is_keras_own_for_the_same_draws(
    tmp_path: Path, k: Any, suffix: str
) -> None:
    model, x = noisy(k), floats(3, 6, 4)

    with compiled(tmp_path, model, suffix) as servable:
        usual = run(servable, x)
        off = run(servable, x, training=np.array(False))
        seven = run(servable, x, training=ON, seed=np.array(7))
        again = run(servable, x, training=ON, seed=np.array(7))
        eight = run(servable, x, training=ON, seed=np.array(8))
        signature = servable.signatures["serving_default"]

    model.get_layer("norm").trainable = False

    with drawn_from(k, tf.constant(7, tf.int64)):
        wanted = model(x, training=True)

    np.testing.assert_allclose(seven, wanted, atol=1e-5)
    np.testing.assert_allclose(usual, model(x, training=False), atol=1e-5)
    np.testing.assert_array_equal(usual, off)
    np.testing.assert_array_equal(seven, again)
    assert not np.allclose(seven, eight)
    assert not np.allclose(seven, usual)
    assert signature.batchable
    assert signature.seed == "seed"


@pytest.mark.parametrize(("k", "suffix"), KINDS)
def test_masks_drop_their_share_and_differ_by_layer(
    tmp_path: Path, k: Any, suffix: str
) -> None:
    x = k.Input((400,), name="x")
    L = k.layers
    both = [L.Dropout(0.25, name="a")(x), L.Dropout(0.25, name="b")(x)]
    model = k.Model(x, L.Concatenate(name="both")(both))

    with compiled(tmp_path, model, suffix) as servable:
        ones = np.ones((10, 400), "float32")
        given = run(servable, ones, training=ON, seed=np.array(2**52 + 1))

    a, b = given[:, :400], given[:, 400:]
    assert np.unique(given.round(5)).tolist() == [0, np.float32(1 / 0.75).round(5)]
    # Of 4,000 draws each: five standard deviations are 0.034.
    assert abs((a == 0).mean() - 0.25) < 0.034
    assert abs((b == 0).mean() - 0.25) < 0.034
    assert (a != b).any()
    assert (a[0] != a[1]).any()


@pytest.mark.parametrize(("k", "suffix"), KINDS)
def test_batch_normalisation_keeps_its_statistics(
    tmp_path: Path, k: Any, suffix: str
) -> None:
    x = k.Input((4,), name="x")
    y = k.layers.BatchNormalization(name="norm", moving_mean_initializer="ones")(x)
    model = k.Model(x, y)
    values = 3 + floats(5, 4)

    with compiled(tmp_path, model, suffix) as servable:
        on = run(servable, values, training=ON)

    np.testing.assert_allclose(on, model(values, training=False), atol=1e-5)


@pytest.mark.parametrize("name", ["training", "seed"])
def test_an_input_of_such_a_name_is_refused(tmp_path: Path, name: str) -> None:
    x = keras.Input((4,), name=name)
    keras.Model(x, keras.layers.Dense(2)(x)).save(tmp_path / "model.keras")

    with (
        pytest.raises(InvalidSidecar, match=f"adds an input '{name}'"),
        open_source(tmp_path / "model.keras", Sidecar(training="optional")),
    ):
        pass


def test_a_graph_takes_no_such_key(tmp_path: Path) -> None:
    def build() -> object:
        return tf.identity(tf.compat.v1.placeholder("float32", [None, 2], name="x"))

    with pytest.raises(InvalidSidecar, match="'training' is for Keras files"):
        compile_graph(tmp_path, build, 'training = "optional"')
