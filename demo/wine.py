"""A classifier of Italian wines by chemical analysis, as a `.keras` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
from sklearn.datasets import load_wine

from demo.held_out import score, split

if TYPE_CHECKING:
    from pathlib import Path

    from demo.held_out import Labelled
    from inference import Array

HELD_OUT = 45


def split_wines() -> tuple[Labelled, Labelled]:
    """Return training and held-out wines: 13 measurements, one of 3 cultivars."""
    wines = load_wine()
    return split(wines.data, wines.target, held_out=HELD_OUT)


def write_wine(path: Path) -> str:
    """Train and save the network; return its score on held-out wines."""
    train, held_out = split_wines()
    model = _network(train.rows)
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(train.rows, train.labels, batch_size=16, epochs=15, verbose=0)
    model.save(path)
    probabilities = model.predict(held_out.rows, verbose=0)
    return score(probabilities.argmax(axis=1), held_out)


def _network(rows: Array) -> Any:
    # Proline goes up to 1,680 and hue to 1.7, so the model normalises its inputs.
    levelled = keras.layers.Normalization()
    levelled.adapt(rows)
    measurements = keras.Input((13,), name="measurements")
    values = keras.layers.Dense(16, activation="relu")(levelled(measurements))
    cultivar = keras.layers.Dense(3, activation="softmax", name="cultivar")(values)
    return keras.Model(measurements, cultivar, name="wine")
