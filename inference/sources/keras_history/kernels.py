"""Weights as older versions of Keras stored them, turned to what their layers take.

The layers are those of tf_keras, given as arguments: nothing here imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.sources.keras_history.backend import CONVOLVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inference.sources.keras_history.origin import Origin
    from inference.types import Array

    Convert = Callable[[Any, list[Array]], list[Array]]

# `backend/theano_backend.py` of Keras 2.2.4: these go to Theano's convolutions as they
# are stored. Depthwise kernels are turned there by itself
# (`_preprocess_conv2d_depthwise_kernel`), and layers that are connected locally don't
# convolve at all. Keras forgot Conv3DTranspose when it turned kernels on loading.
_CONVOLUTIONS = frozenset(
    {"Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose"}
)
_CELLS = frozenset({"ConvLSTMCell", "ConvLSTM2DCell"})

# How many arrays Keras 1 kept for the gates of one layer, in place of two or three.
_GATE_ARRAYS = {"GRU": 9, "LSTM": 12, "ConvLSTM2D": 12}
_MODELS = frozenset({"Functional", "Model", "Sequential"})


def turned(layers: Sequence[Any], origin: Origin) -> dict[int, Any]:
    """Return the variables, by identity, whose stored values are turned round.

    `layers` are all layers of the model, those inside others included.
    """
    if origin.backend not in CONVOLVE:
        return {}

    return {id(each): each for layer in layers for each in _kernels(layer)}


def turn(kernel: Array) -> Array:
    """Return `kernel`, whose last two axes are its channels, turned round in space."""
    space = tuple(range(kernel.ndim - 2))
    return np.flip(kernel, space)


def _kernels(layer: Any) -> Iterator[Any]:
    kind = type(layer).__name__

    if not layer.built:
        # The pattern of a wrapper's two layers, which has no weights itself.
        return

    if kind in _CONVOLUTIONS:
        yield layer.kernel
    elif kind in _CELLS:
        yield from (layer.kernel, layer.recurrent_kernel)


def of_keras1(layer: Any, values: list[Array], convert: Convert) -> list[Array]:
    """Return the arrays of a layer of Keras 1 as the layer of today takes them.

    `convert` does it for a layer with no other inside, as tf_keras has it: its own way
    through wrappers converts some of them twice.
    """
    kind = type(layer).__name__

    if kind == "Bidirectional":
        half = len(values) // 2
        sides = zip(
            (layer.forward_layer, layer.backward_layer),
            (values[:half], values[half:]),
            strict=True,
        )
        return [each for side, own in sides for each in of_keras1(side, own, convert)]

    if kind == "TimeDistributed":
        return of_keras1(layer.layer, values, convert)

    if kind in _MODELS:
        return _of_model(layer, values, convert)

    if kind == "SeparableConv2D" and layer.data_format == "channels_first":
        # Keras 1.2.2, `layers/convolutional.py`: (multiplier, stack, rows, columns).
        kernels = [np.transpose(each, (2, 3, 1, 0)) for each in values[:2]]
        return [*kernels, *values[2:]]

    return convert(layer, values)


def _of_model(model: Any, values: list[Array], convert: Convert) -> list[Array]:
    """Keras 1 kept a model's weights as those that are trained, then the others."""
    trained, others = [], []
    rest = list(values)

    for layer in model.layers:
        count = _stored_count(layer, layer.trainable_weights)
        trained.append(rest[:count])
        rest = rest[count:]

    for layer in model.layers:
        count = len(layer.non_trainable_weights)
        others.append(rest[:count])
        rest = rest[count:]

    first: list[Array] = []
    last: list[Array] = []

    for layer, own, fixed in zip(model.layers, trained, others, strict=True):
        arrays = of_keras1(layer, own + fixed, convert) if own or fixed else []
        first += arrays[: len(layer.trainable_weights)]
        last += arrays[len(layer.trainable_weights) :]

    return first + last


def _stored_count(layer: Any, weights: Sequence[Any]) -> int:
    """Return how many arrays Keras 1 kept for the `weights` that are trained."""
    kind = type(layer).__name__

    if not weights:
        return 0

    if kind == "Bidirectional":
        return 2 * _stored_count(layer.forward_layer, layer.forward_layer.weights)

    if kind == "TimeDistributed":
        return _stored_count(layer.layer, weights)

    return _GATE_ARRAYS.get(kind, len(weights))
