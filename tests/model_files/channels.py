"""A Keras model of images, series and videos, channels first or last.

Takes either Keras, so that files of both hold the same layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.model_files.cases import Case, Example

if TYPE_CHECKING:
    from pathlib import Path

SHAPES = {"picture": (3, 9, 10), "series": (3, 12), "movie": (2, 5, 6, 7)}


def channels_first_case(keras: Any, path: Path) -> Case:
    """Write a channels-first file, whose right outputs are the channels-last ones."""
    random = np.random.default_rng(3)
    first, last = (_model(keras, data_format) for data_format in _FORMATS)
    shapes = [weight.shape for weight in last.get_weights()]
    last.set_weights([abs(random.normal(scale=0.4, size=each)) for each in shapes])
    first.set_weights(last.get_weights())
    first.save(path)
    inputs = {
        name: random.normal(size=(2, *shape)).astype("float32")
        for name, shape in SHAPES.items()
    }
    moved = [np.moveaxis(value, 1, -1) for value in inputs.values()]
    outputs = [np.asarray(each) for each in last(moved, training=False)]
    wanted = dict(zip(("score", "beat", "scene"), outputs, strict=True))
    wanted["beat"] = np.moveaxis(wanted["beat"], -1, 1)
    return Case(
        path=path,
        examples=(Example(inputs=inputs, outputs=wanted),),
        batchable=True,
        tolerance=1e-4,
    )


_FORMATS = ("channels_first", "channels_last")


def _model(keras: Any, data_format: str) -> Any:
    inputs = {
        name: keras.Input(_shape(shape, data_format), name=name)
        for name, shape in SHAPES.items()
    }
    outputs = [
        make(keras.layers, value, {"data_format": data_format})
        for make, value in zip(
            (_picture, _series, _movie), inputs.values(), strict=True
        )
    ]
    return keras.Model(list(inputs.values()), outputs)


def _shape(shape: tuple[int, ...], data_format: str) -> tuple[int, ...]:
    return shape if data_format == _FORMATS[0] else (*shape[1:], shape[0])


def _axis(how: dict[str, str]) -> int:
    return 1 if how["data_format"] == _FORMATS[0] else -1


def _picture(layers: Any, x: Any, how: dict[str, str]) -> Any:
    x = layers.Conv2D(4, 3, strides=(2, 1), padding="same", **how)(x)
    x = layers.BatchNormalization(axis=_axis(how))(x)
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu", **how)(x)
    y = layers.Add()([x, y])
    y = layers.Concatenate(axis=_axis(how))([x, y])
    y = layers.MaxPooling2D(2, **how)(y)
    y = layers.Conv2DTranspose(5, 3, strides=2, padding="same", **how)(y)
    y = layers.UpSampling2D(2, **how)(y)
    y = layers.ZeroPadding2D(((1, 0), (2, 1)), **how)(y)
    y = layers.SeparableConv2D(4, 3, **how)(y)
    y = layers.AveragePooling2D(3, **how)(y)
    y = layers.Flatten(**how)(y)
    return layers.Dense(2, activation="tanh", name="score")(y)


def _series(layers: Any, x: Any, how: dict[str, str]) -> Any:
    x = layers.Conv1D(4, 3, activation="relu", **how)(x)
    # As long as it has channels, so that the bias could be added to the wrong ones.
    return layers.Conv1D(8, 2, dilation_rate=2, name="beat", **how)(x)


def _movie(layers: Any, x: Any, how: dict[str, str]) -> Any:
    x = layers.Conv3D(3, 2, padding="same", activation="relu", **how)(x)
    x = layers.MaxPooling3D(2, **how)(x)
    return layers.GlobalAveragePooling3D(name="scene", **how)(x)
