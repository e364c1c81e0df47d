"""Files of Keras 3 in narrow and quantized dtypes, against their models' outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
import pytest
import tf_keras
from keras import layers as L

from inference.errors import InvalidModel
from inference.formats.keras.screening import screen_config
from inference.permissions import Permissions
from tests.support.keras3 import answers, read_answers, served_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Keras' own, when it saves and quantizes.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't"),
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:.*does not have a `quantize`"),
]

MODES = ("int8", "int4", "float8")
KINDS = (".keras", ".h5", ".weights.h5")


def saved(model: Any, path: Path) -> Path:
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
        path.with_suffix(".json").write_text(model.to_json())
    else:
        model.save(path)

    return path


def dense(**options: Any) -> Any:
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(16, activation="relu", **options),
            L.BatchNormalization(**options),
            L.Dense(4, **options),
        ]
    )


def per_layer() -> Any:
    policy = keras.dtype_policies.DTypePolicy("float64")
    return keras.Sequential(
        [
            keras.Input((8,)),
            L.Dense(16, dtype="bfloat16"),
            L.Dense(8, dtype="mixed_float16"),
            L.Dense(4, dtype=policy),
        ]
    )


def mapped() -> Any:
    policies = keras.dtype_policies.DTypePolicyMap(default_policy="float32")
    policies["heads/query"] = keras.dtype_policies.DTypePolicy("bfloat16")
    taken = keras.Input((5, 8))
    heads = L.MultiHeadAttention(2, 4, dtype=policies, name="heads")
    return keras.Model(taken, heads(taken, taken))


def nested() -> Any:
    taken = keras.Input((8,))
    return keras.Model(taken, L.Dense(2)(dense(dtype="bfloat16")(taken)))


NARROW: dict[str, Callable[[], Any]] = {
    "bfloat16": lambda: dense(dtype="bfloat16"),
    "float16": lambda: dense(dtype="float16"),
    "mixed_bfloat16": lambda: dense(dtype="mixed_bfloat16"),
    "policy": lambda: dense(dtype=keras.dtype_policies.DTypePolicy("mixed_float16")),
    "per_layer": per_layer,
    "mapped": mapped,
    "nested": nested,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NARROW)
def test_narrow_floats_are_read_unchanged(tmp_path: Path, name: str, kind: str) -> None:
    model = NARROW[name]()
    path = saved(model, tmp_path / f"model{kind}")

    np.testing.assert_array_equal(read_answers(path, model), answers(model))


def test_weights_only_file_of_the_old_form(tmp_path: Path) -> None:
    """As tools extract them from an `.h5`: by the names of the layers."""
    model = dense(dtype="bfloat16")
    model.save(tmp_path / "whole.h5")
    path = tmp_path / "weights.h5"

    with h5py.File(tmp_path / "whole.h5") as whole, h5py.File(path, "w") as weights:
        group = whole["model_weights"]

        for name in group:
            group.copy(name, weights)

        for name, value in group.attrs.items():
            weights.attrs[name] = value

    path.with_suffix(".json").write_text(model.to_json())

    np.testing.assert_array_equal(read_answers(path, model), answers(model))


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "float16"])
def test_policies_of_keras_2(tmp_path: Path, policy: str, suffix: str) -> None:
    options: dict[str, Any] = {"dtype": tf_keras.mixed_precision.Policy(policy)}
    model = tf_keras.Sequential(
        [
            tf_keras.Input((8,)),
            tf_keras.layers.Dense(16, activation="relu", **options),
            tf_keras.layers.Dense(4, **options),
        ]
    )
    path = tmp_path / f"model{suffix}"
    model.save(path)

    np.testing.assert_array_equal(read_answers(path, model), answers(model))


def embedded() -> Any:
    rows = [keras.Input((5,), dtype="int32"), L.Embedding(11, 8)]
    return keras.Sequential([*rows, L.GlobalAveragePooling1D(), L.Dense(4)])


def contracted() -> Any:
    layer = L.EinsumDense("abc,cd->abd", output_shape=(None, 6), bias_axes="d")
    return keras.Sequential([keras.Input((5, 8)), layer, L.Dense(4)])


def inside() -> Any:
    taken = keras.Input((8,))
    return keras.Model(taken, L.Dense(2)(dense()(taken)))


def heads() -> Any:
    taken = keras.Input((5, 8))
    return keras.Model(taken, L.MultiHeadAttention(2, 4)(taken, taken))


def quantized(make: Callable[[], Any], mode: str) -> Any:
    model = make()
    model.quantize(mode)
    return model


@pytest.mark.parametrize(
    ("make", "mode"),
    [
        *((make, mode) for make in (dense, contracted, inside) for mode in MODES),
        (embedded, "int8"),
        (embedded, "int4"),
    ],
)
def test_quantized_models_match_their_outputs(
    tmp_path: Path, make: Callable[[], Any], mode: str
) -> None:
    model = quantized(make, mode)
    path = saved(model, tmp_path / "model.keras")

    np.testing.assert_array_equal(read_answers(path, model), answers(model))


@pytest.mark.parametrize("mode", MODES)
def test_served_quantized_models_match_their_outputs(tmp_path: Path, mode: str) -> None:
    model = quantized(dense, mode)
    path = saved(model, tmp_path / "model.keras")

    given = served_answers(path, tmp_path / "made", model)
    np.testing.assert_allclose(given, answers(model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("kind", [".h5", ".weights.h5"])
def test_other_files_of_quantized_models(tmp_path: Path, mode: str, kind: str) -> None:
    model = quantized(dense, mode)
    path = saved(model, tmp_path / f"model{kind}")

    np.testing.assert_array_equal(read_answers(path, model), answers(model))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_quantized_inner_layer_is_refused_with_remedy(
    tmp_path: Path, mode: str, kind: str
) -> None:
    """Keras itself can't read such a file."""
    model = quantized(heads, mode)
    path = saved(model, tmp_path / f"model{kind}")

    with pytest.raises(InvalidModel, match="quantized in a way that .* SavedModel"):
        read_answers(path, model)


def test_remedy_for_quantized_inner_layer_works(tmp_path: Path) -> None:
    model = quantized(heads, "int8")
    model.export(tmp_path / "exported", verbose=False)

    with pytest.raises(ValueError, match="could not be loaded"):
        keras.models.load_model(saved(model, tmp_path / "model.keras"))

    given = read_answers(tmp_path / "exported", model)
    np.testing.assert_array_equal(given, answers(model))


def test_an_h5_of_float8_is_refused(tmp_path: Path) -> None:
    """Keras writes its scales in another order than it reads them."""
    path = saved(quantized(dense, "float8"), tmp_path / "model.h5")

    with pytest.raises(InvalidModel, match=r"Shape mismatch .* as a \.keras file"):
        read_answers(path, dense())


@pytest.mark.parametrize("name", ["GPTQConfig", "AWQConfig"])
def test_sample_based_quantization_is_refused(name: str) -> None:
    """Keras 3.15 writes one variable less than it reads."""
    config = {"class_name": name, "module": "keras.quantizers", "config": {}}

    with pytest.raises(InvalidModel, match=f"is a {name}: Keras itself can't read"):
        screen_config(config, "model.keras", Permissions())
