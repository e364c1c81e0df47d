"""Operations on symbolic tensors, which Keras 3 writes as if they were layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops
from keras.src.legacy.layers import ThresholdedReLU

from inference.formats.keras.gate import admit
from inference.formats.keras.loading import load_model
from inference.formats.opening import open_source
from inference.permissions import Permissions
from inference.repository.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [
    # Keras' own, when it saves.
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept"),
    pytest.mark.filterwarnings("ignore:.*does not support masking"),
]

IMAGE = (6, 6, 1)
KERNEL = np.arange(18, dtype="float32").reshape(3, 3, 1, 2)

ONE: dict[str, tuple[tuple[int, ...], Callable[[Any], Any]]] = {
    "plus_number": ((4,), lambda x: x + 1.5),
    "number_minus": ((4,), lambda x: 1 - x),
    "plus_array": ((4,), lambda x: x + np.arange(4, dtype="float32")),
    "power": ((4,), lambda x: abs(x) ** 2),
    "column": ((4,), lambda x: x[:, 0]),
    "columns": ((4,), lambda x: x[:, 1:3]),
    "ellipsis": ((4,), lambda x: x[..., None]),
    "sum": ((4,), lambda x: ops.sum(x, axis=1)),
    "average": ((4,), lambda x: ops.average(x, axis=1)),
    "reshape": ((4,), lambda x: ops.reshape(x, (-1, 2, 2))),
    "maximum": ((4,), lambda x: ops.maximum(x, 0.5)),
    "softmax": ((3, 4), lambda x: ops.softmax(x, axis=1)),
    "relu": ((4,), lambda x: keras.activations.relu(x, negative_slope=0.1)),
    "gelu": ((4,), keras.activations.gelu),
    "tensor": ((4,), ops.convert_to_tensor),
    "cast": ((4,), lambda x: ops.cast(x, "int32")),
    "split": ((4,), lambda x: ops.split(x, 2, axis=1)),
    "norm": ((4,), lambda x: ops.norm(x, axis=1)),
    "convolution": (IMAGE, lambda x: ops.conv(x, KERNEL)),
    "resize": (IMAGE, lambda x: ops.image.resize(x, (3, 3))),
    "quantizer": (
        (4,),
        lambda x: keras.quantizers.fake_quant_with_min_max_vars(x, -1.0, 1.0),
    ),
    "layers_too": ((4,), lambda x: L.Reshape((2, 2))(L.Add()([x, x + 1]))),
    "in_a_model": ((4,), lambda x: nested(x)),
    "threshold": ((4,), lambda x: ThresholdedReLU(0.3)(x)),
}
TWO: dict[str, Callable[[Any, Any], Any]] = {
    "plus": lambda x, y: x + y,
    "matrices": lambda x, y: x @ ops.transpose(y),
    "dot": lambda x, y: ops.dot(x, ops.transpose(y)),
    "concatenate": lambda x, y: ops.concatenate([x, y], axis=0),
    "where": lambda x, y: ops.where(x > y, x, y),
}
MASKED: dict[str, Callable[[Any], Any]] = {
    "attention": lambda x: L.Attention()([x, x]),
    "additive": lambda x: L.AdditiveAttention()([x, x, x]),
    "heads": lambda x: L.MultiHeadAttention(2, 3)(x, x),
    "groups": lambda x: L.GroupQueryAttention(2, 4, 2)(x, x),
    "joined": lambda x: L.GlobalAveragePooling1D()(L.Concatenate()([x, x])),
    "recurrent": lambda x: L.LSTM(3)(x),
}


def nested(x: Any) -> Any:
    inner = keras.Input((4,))
    return keras.Model(inner, L.Dense(2)(inner * 2))(x) - 1


def with_one(name: str) -> Any:
    shape, call = ONE[name]
    taken = keras.Input(shape)
    return keras.Model([taken], call(taken))


def with_two(name: str) -> Any:
    taken = [keras.Input((4,)), keras.Input((4,))]
    return keras.Model(taken, TWO[name](*taken))


def masked(name: str) -> Any:
    taken = keras.Input((5,), dtype="int32")
    return keras.Model([taken], MASKED[name](L.Embedding(7, 4, mask_zero=True)(taken)))


def arrays(model: Any) -> list[Any]:
    generator = np.random.default_rng(0)
    made = [generator.normal(size=(2, *each.shape[1:])) * 3 for each in model.inputs]
    pairs = zip(made, model.inputs, strict=True)
    return [abs(each).round() if "int" in to.dtype else each for each, to in pairs]


def answers(model: Any, taken: list[Any]) -> list[Any]:
    casts = [ops.cast(x, to.dtype) for x, to in zip(taken, model.inputs, strict=True)]
    given = model(casts, training=False)
    return list(given) if isinstance(given, list | tuple) else [given]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        *((with_one, name) for name in ONE),
        *((with_two, name) for name in TWO),
        *((masked, name) for name in MASKED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_operation_is_loaded_with_the_same_outputs(
    tmp_path: Path, make: Callable[[str], Any], name: str, suffix: str
) -> None:
    model = make(name)
    path = tmp_path / f"model{suffix}"
    model.save(path)
    taken = arrays(model)

    read = load_model(keras, admit(path, Permissions()))

    for found, wanted in zip(answers(read, taken), answers(model, taken), strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(found),
            ops.convert_to_numpy(wanted),
            rtol=1e-5,
            atol=1e-6,
        )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_masked_attention_is_traced(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model{suffix}"
    masked("attention").save(path)

    with open_source(path, Sidecar()) as source:
        assert source.writer == f"Keras {keras.__version__}"
        assert len(source.graph_def.node) > 1
