"""Weights as older versions of Keras stored them, converted for today's layers.

The layers are those of tf_keras, given as arguments: nothing here imports it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from inference.formats.keras.history.backend import CONVOLVE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from inference.formats.keras.history.origin import Origin
    from inference.types import Array

# `backend/theano_backend.py` of Keras 2.2.4 gives these to Theano's convolutions as
# they are stored. It flips depthwise kernels itself
# (`_preprocess_conv2d_depthwise_kernel`), and locally connected layers don't convolve
# at all. Keras forgot Conv3DTranspose when it flipped kernels on loading.
_CONVOLUTIONS = frozenset(
    {"Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose"}
)
_CELLS = frozenset({"ConvLSTMCell", "ConvLSTM2DCell"})

# The number of arrays that Keras 1 stored for a layer's gates, instead of two or three.
_GATE_ARRAYS = {"GRU": 9, "LSTM": 12, "ConvLSTM2D": 12}
_MODELS = frozenset({"Functional", "Model", "Sequential"})
_LAST = (2, 3, 1, 0)


def flipped_variables(layers: Sequence[Any], origin: Origin) -> dict[int, Any]:
    """Return the variables, by identity, whose stored values are flipped.

    `layers` are all layers of the model, nested ones included.
    """
    if origin.backend not in CONVOLVE:
        return {}

    return {id(each): each for layer in layers for each in _kernels(layer)}


def flip(kernel: Array) -> Array:
    """Return `kernel` flipped along its spatial axes, all but the last two."""
    space = tuple(range(kernel.ndim - 2))
    return np.flip(kernel, space)


def _kernels(layer: Any) -> Iterator[Any]:
    kind = type(layer).__name__

    if not layer.built:
        # The template of a wrapper's two layers has no weights itself.
        return

    if kind in _CONVOLUTIONS:
        yield layer.kernel
    elif kind in _CELLS:
        yield from (layer.kernel, layer.recurrent_kernel)


def parts_of_keras1(
    layer: Any, values: Sequence[Array]
) -> Iterator[tuple[Any, list[Array]]]:
    """Yield each layer with weights of its own in `layer`, and its part of `values`."""
    # `weights` of Keras 1.2.2 (`engine/topology.py`, `layers/wrappers.py`) are the
    # trainable ones of all nested layers, then all others, at any depth.
    leaves = [leaf for leaf in _leaves(layer) if leaf.weights]
    rest = list(values)
    trained = [_taken(leaf, leaf.trainable_weights, rest) for leaf in leaves]
    others = [_taken(leaf, leaf.non_trainable_weights, rest) for leaf in leaves]

    if rest:
        raise ValueError(f"layer '{layer.name}' takes {len(rest)} weights fewer")

    for leaf, first, last in zip(leaves, trained, others, strict=True):
        yield leaf, _in_current_order(leaf, [*first, *last])


def _leaves(layer: Any) -> Iterator[Any]:
    kind = type(layer).__name__

    if kind == "Bidirectional":
        inner: Sequence[Any] = (layer.forward_layer, layer.backward_layer)
    elif kind == "TimeDistributed":
        inner = (layer.layer,)
    elif kind in _MODELS:
        inner = layer.layers
    else:
        yield layer
        return

    for each in inner:
        yield from _leaves(each)


def _taken(leaf: Any, weights: Sequence[Any], rest: list[Array]) -> list[Array]:
    """Take from `rest` the arrays that Keras 1 stored for these `weights`."""
    count = _stored_count(leaf, weights, rest)
    taken = rest[:count]
    del rest[:count]
    return taken


def _stored_count(leaf: Any, weights: Sequence[Any], rest: Sequence[Array]) -> int:
    gates = _GATE_ARRAYS.get(type(leaf).__name__)

    if gates is None or not weights or not rest:
        return len(weights)

    # `consume_less="gpu"` stored the gates joined, as they are today.
    together = rest[0].shape == tuple(weights[0].shape)
    return len(weights) if together else gates


def _in_current_order(leaf: Any, values: list[Array]) -> list[Array]:
    """Transpose the arrays that the loader of tf_keras leaves as they are."""
    kind = type(leaf).__name__

    if getattr(leaf, "data_format", None) != "channels_first":
        return values

    if kind == "SeparableConv2D":
        # Keras 1.2.2, `layers/convolutional.py`: (multiplier, stack, rows, columns).
        return [*(np.transpose(each, _LAST) for each in values[:2]), *values[2:]]

    if kind == "ConvLSTM2D":
        # Each gate is (filters, stack, rows, columns).
        return _joined_gates([_channels_last(each) for each in values])

    return values


def _channels_last(value: Array) -> Array:
    return np.transpose(value, _LAST) if value.ndim == len(_LAST) else value


def _joined_gates(values: Sequence[Array]) -> list[Array]:
    """Join the gates: input, forget, cell, output, where cell was second."""
    gates = [values[start : start + 3] for start in (0, 6, 3, 9)]
    return [np.concatenate(parts, axis=-1) for parts in zip(*gates, strict=True)]
