"""Keras 3 by `tf.saved_model.save`, whose variables no saver fills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from tests.model_files.cases import Case, Example
from tests.model_files.keras3_files import floats, settle, two_in_two_out

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array


def saved(folder: Path, thing: Any, signatures: Any = None) -> Path:
    tf.saved_model.save(thing, str(folder / "model"), signatures=signatures)
    return folder / "model"


def example(outputs: dict[str, Any], **inputs: Array) -> Example:
    answers = {name: np.asarray(value) for name, value in outputs.items()}
    return Example(inputs=inputs, outputs=answers)


def saved_keras3_sequential(folder: Path) -> Case:
    """With an optimizer, whose own variables are in the checkpoint too."""
    stack = [
        keras.Input((4,), name="measures"),
        layers.Dense(8, activation="relu", name="hidden"),
        layers.BatchNormalization(name="norm"),
        layers.Dropout(0.5, name="dropout"),
        layers.Dense(3, activation="softmax", name="probabilities"),
    ]
    model = settle(keras.Sequential(stack, name="dense"))
    model.compile("adam", "categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    given = floats(3, 4)
    answer = example({"output_0": model(given, training=False)}, inputs=given)
    return Case(path=saved(folder, model), examples=(answer,), batchable=True)


def saved_keras3_two_in_two_out(folder: Path) -> Case:
    model, left, right = two_in_two_out(), floats(5, 3), floats(5, 2)
    score, label = model([left, right], training=False)
    answer = example(
        {"output_0": score, "output_1": label}, inputs=left, inputs_1=right
    )
    return Case(path=saved(folder, model), examples=(answer,), batchable=True)


def saved_keras3_subclassed(folder: Path) -> Case:
    """A signature of the user's own, over a model that isn't a graph of layers."""

    class Doubler(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2, name="dense")
            self.gain = self.add_weight(shape=(2,), name="gain")

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs) * self.gain

    model, given = Doubler(), floats(3, 4)
    model(given)
    settle(model)
    rows = tf.TensorSpec([None, 4], tf.float32, name="measures")
    call = tf.function(lambda measures: {"scores": model(measures)}, [rows])
    path = saved(folder, model, {"serving_default": call})
    answer = example({"scores": model(given)}, measures=given)
    return Case(path=path, examples=(answer,), batchable=True)


def saved_keras3_layer_in_module(folder: Path) -> Case:
    """Variables of both kinds: the session's saver fills only TensorFlow's own."""
    module, given = tf.Module(), floats(3, 4)
    module.layer = layers.Dense(3, name="dense")
    module.layer.build((None, 4))
    settle(module.layer)
    module.gain = tf.Variable(floats(3))
    rows = tf.TensorSpec([None, 4], tf.float32, name="x")
    module.call = tf.function(lambda x: {"y": module.layer(x) * module.gain}, [rows])
    answer = example(module.call(given), x=given)
    return Case(path=saved(folder, module), examples=(answer,), batchable=True)


def saved_keras3_lookup(folder: Path) -> Case:
    """A table beside variables; the layers wrapped in a layer."""
    words = [b"good", b"bad", b"plain"]
    stack = [
        keras.Input((2,), dtype="string", name="words"),
        layers.StringLookup(vocabulary=[word.decode() for word in words]),
        layers.Embedding(4, 3, name="vectors"),
        layers.Bidirectional(layers.GRU(2, name="memory"), name="both"),
    ]
    model = settle(keras.Sequential(stack))
    given = np.array([[b"bad", b"good"], [b"unheard", b"plain"]], object)
    answer = example({"output_0": model(tf.constant(given))}, inputs=given)
    return Case(path=saved(folder, model), examples=(answer,), batchable=True)
