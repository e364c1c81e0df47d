"""A small convolutional network that reads digits, as Keras 3 writes an `.h5`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from demo.digits import split_digits
from demo.held_out import score

if TYPE_CHECKING:
    from pathlib import Path


def write_digits_cnn(path: Path) -> str:
    """Train and save the network; return its score on held-out digits."""
    train, held_out = split_digits()
    model = _network()
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    model.fit(train.rows, train.labels, batch_size=32, epochs=12, verbose=0)
    model.save(path)
    # Requests may ask for this layer's output, too.
    path.with_suffix(".toml").write_text('layers = ["features"]\n', "utf-8")
    probabilities = model.predict(held_out.rows, verbose=0)
    return score(probabilities.argmax(axis=1), held_out)


def _network() -> Any:
    layers = keras.layers
    image = keras.Input((8, 8), name="image")
    values = layers.Rescaling(1 / 16)(image)
    values = layers.Reshape((8, 8, 1))(values)
    values = layers.Conv2D(32, 3, padding="same", activation="relu")(values)
    values = layers.Conv2D(32, 3, activation="relu")(values)
    values = layers.MaxPooling2D()(values)
    values = layers.Flatten()(values)
    values = layers.Dense(64, activation="relu", name="features")(values)
    values = layers.Dropout(0.3)(values)
    probabilities = layers.Dense(10, activation="softmax", name="probabilities")(values)
    return keras.Model(image, probabilities, name="digits_cnn")
