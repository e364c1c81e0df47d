"""Keras 3 frozen by TensorFlow 2, which lowers its loops to frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf
from keras import layers
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from tests.model_files.cases import Case, Example
from tests.model_files.keras3_files import floats, settle

if TYPE_CHECKING:
    from pathlib import Path


def frozen_keras3_lstm(folder: Path) -> Case:
    stack = [layers.LSTM(4, return_sequences=True), layers.LSTM(3)]
    return frozen(folder, [keras.Input((5, 2)), *stack, layers.Dense(2)])


def frozen_keras3_bidirectional(folder: Path) -> Case:
    """Two loops side by side over steps of any number."""
    both = layers.Bidirectional(layers.GRU(3))
    return frozen(folder, [keras.Input((None, 2)), both, layers.Dense(2)])


def frozen(folder: Path, stack: list[Any]) -> Case:
    model = settle(keras.Sequential(stack))
    signal = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name="signal")
    traced = tf.function(lambda rows: model(rows, training=False))
    constant = convert_variables_to_constants_v2(traced.get_concrete_function(signal))
    graph_def = constant.graph.as_graph_def()
    assert "Enter" in {node.op for node in graph_def.node}

    path, values = folder / "model.pb", floats(3, 5, 2)
    path.write_bytes(graph_def.SerializeToString())
    right = model(values, training=False).numpy()
    example = Example(inputs={"signal": values}, outputs={"Identity": right})
    return Case(path=path, examples=(example,), batchable=True)
