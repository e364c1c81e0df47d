"""A screened Keras file, loaded by the Keras that understands it.

The screened and translated architecture is built, never the file's own: the file may
have changed meanwhile, and its terms may mean something else today.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from inference.backend import quiet_stderr, uncollected_import
from inference.errors import InvalidModel
from inference.formats.keras.copy import needs_copy, write_archive, write_shards
from inference.formats.keras.failures import load_error
from inference.formats.keras.history.padding import check_padding
from inference.formats.keras.packages import check_packages
from inference.formats.keras.sizes import allowed_values, bounded_weights
from inference.formats.keras.vocabulary.activation_functions import ACTIVATION_FUNCTIONS
from inference.formats.keras.vocabulary.operation_classes import (
    mark_operations,
    operation_classes,
)
from inference.formats.keras.weights import convert_bfloat16, load_weights

if TYPE_CHECKING:
    from inference.formats.keras.config import KerasFile


@cache
def import_keras(generation: int) -> Any:
    """Import the Keras that reads files of that generation."""
    # Keras reads it when it is first imported.
    os.environ["KERAS_BACKEND"] = "tensorflow"

    with quiet_stderr(), uncollected_import():
        if generation >= 3:
            import keras

            return keras

        import tf_keras

        return tf_keras


def load_model(keras: Any, keras_file: KerasFile) -> Any:
    """Return the model, over flat lists of inputs and outputs.

    Raise `InvalidModel` with Keras' error.
    """
    bound = allowed_values(keras_file.stored)
    check_packages(keras_file)

    try:
        with bounded_weights(keras.layers.Layer, keras_file.path.name, bound):
            model = _built(keras, keras_file)
    except InvalidModel:
        raise
    except Exception as exc:
        # Keras raises whatever its layers raise.
        name = "tf_keras" if keras.__name__ == "tf_keras" else "Keras"
        reason = load_error(f"{name} {keras.__version__}", keras_file, exc)
        raise InvalidModel(reason) from exc

    _check_output_shapes(model, keras_file)
    check_padding(model._flatten_layers(), keras_file.origin, keras_file.path.name)
    return _flat(keras, model)


def _from_config(keras: Any, keras_file: KerasFile) -> Any:
    """Build the architecture."""
    # Keras 3 has all functions that the gate admits; tf_keras lacks these.
    given = dict(ACTIVATION_FUNCTIONS) if keras_file.generation < 3 else None
    text = json.dumps(keras_file.config)
    return keras.models.model_from_json(text, custom_objects=given)


def _built(keras: Any, keras_file: KerasFile) -> Any:
    if keras_file.container == ".keras":
        return _from_zip(keras, keras_file)

    if keras_file.path.is_dir():
        return _with_shards(keras, keras_file)

    with tempfile.TemporaryDirectory() as scratch:
        path = convert_bfloat16(keras_file.path, Path(scratch, "plain.h5"))

        if keras_file.weights_only:
            return _with_weights(keras, keras_file, path)

        with h5py.File(path, "r") as file:
            return _from_hdf5(keras, keras_file, file["model_weights"])


def _from_hdf5(keras: Any, keras_file: KerasFile, weights: Any) -> Any:
    if keras_file.generation >= 3:
        return _from_hdf5_of_keras3(keras, keras_file, weights)

    model = _from_config(keras, keras_file)
    load_weights(keras, model, weights, keras_file.origin)
    return model


def _from_zip(keras: Any, keras_file: KerasFile) -> Any:
    # compile=False: optimizers of older Keras have arguments that are rejected now.
    with tempfile.TemporaryDirectory() as scratch:
        # Keras chooses a reader by the file's suffix.
        named = Path(scratch, "model.keras")

        if keras_file.translated or needs_copy(keras_file):
            write_archive(keras_file, named)
        else:
            named.symlink_to(keras_file.path.resolve())

        if keras_file.generation < 3:
            return keras.models.load_model(
                str(named), compile=False, custom_objects=dict(ACTIVATION_FUNCTIONS)
            )

        return keras.saving.load_model(
            str(named),
            compile=False,
            safe_mode=True,
        )


def _with_shards(keras: Any, keras_file: KerasFile) -> Any:
    model = _from_config(keras, keras_file)

    with tempfile.TemporaryDirectory() as scratch:
        model.load_weights(str(write_shards(keras_file.path, Path(scratch))))

    return model


def _with_weights(keras: Any, keras_file: KerasFile, path: Path) -> Any:
    model = _from_config(keras, keras_file)

    with h5py.File(path, "r") as file:
        if keras_file.generation < 3 and "layer_names" in file.attrs:
            load_weights(keras, model, file, keras_file.origin)
            return model

        new = keras_file.generation >= 3 and "layer_names" not in file.attrs

    with tempfile.TemporaryDirectory() as scratch:
        named = Path(scratch, "model.weights.h5" if new else "model.h5")
        named.symlink_to(path.resolve())
        model.load_weights(str(named))

    return model


def _from_hdf5_of_keras3(keras: Any, keras_file: KerasFile, weights: Any) -> Any:
    """Load an `.h5` as Keras 3's own loader does, with the screened architecture."""
    from keras.src.legacy.saving import (
        legacy_h5_format,
        saving_options,
        saving_utils,
    )
    from keras.src.saving import serialization_lib

    with (
        saving_options.keras_option_scope(use_legacy_config=True),
        serialization_lib.SafeModeScope(True),
    ):
        saving_utils.MODULE_OBJECTS.ALL_OBJECTS = _classes(keras)
        model = saving_utils.model_from_config(
            keep_axes(mark_operations(keras_file.config)),
            custom_objects=operation_classes(keras),
        )
        legacy_h5_format.load_weights_from_hdf5_group(weights, model)

    return model


class _WithAxes(dict[str, Any]):
    """The config of a layer that works along several axes."""

    def pop(self, key: str, *default: Any) -> Any:
        # keras/src/legacy/saving/saving_utils.py of Keras 3.15 takes `axis` out of each
        # config, and puts it back only where it is one number.
        return default[0] if key == "axis" else super().pop(key, *default)


def keep_axes(config: Any) -> Any:
    """Return a copy of `config` that keeps each `axis` of several when it is read."""
    if isinstance(config, list):
        return [keep_axes(each) for each in config]

    if not isinstance(config, dict):
        return config

    inner = {key: keep_axes(value) for key, value in config.items()}
    axis = inner.get("axis")

    if isinstance(axis, list) and len(axis) > 1:
        return _WithAxes(inner | {"axis": tuple(axis)})

    return inner


def _classes(keras: Any) -> dict[str, Any]:
    """Return the layers and models of Keras 3, without its functions."""
    from keras.src import layers, models
    from keras.src.layers.preprocessing import feature_space
    from keras.src.legacy import layers as legacy

    # Keras looks up each string of a config in both, and takes the `score_mode` "dot"
    # of an Attention for the function of that name.
    found: dict[str, Any] = {}

    for module in (legacy, feature_space, layers, keras.layers, models):
        found |= vars(module)

    return {name: value for name, value in found.items() if isinstance(value, type)}


def _check_output_shapes(model: Any, keras_file: KerasFile) -> None:
    layers = {layer.name: layer for layer in getattr(model, "layers", ())}

    for name, wanted in keras_file.output_shapes:
        given = getattr(layers.get(name), "output_shape", None)

        if given is not None and tuple(given[1:]) != wanted[1:]:
            raise InvalidModel(
                f"layer '{name}' of {keras_file.path.name} has the output_shape "
                f"{wanted[1:]}, but its strides and padding give "
                f"{tuple(given[1:])}. Only Keras 1 could do that; change the layer's "
                "output_shape and train the model again."
            )


def _flat(keras: Any, model: Any) -> Any:
    """Return the model over flat lists, whatever structure it takes and returns."""
    inputs = getattr(model, "inputs", None)
    outputs = getattr(model, "outputs", None)

    if not inputs or not outputs:
        raise InvalidModel(
            "The model has no Input layer, so the shape it takes isn't known. Add "
            "keras.Input(shape) as its first layer and save it again."
        )

    return keras.Model(inputs=list(inputs), outputs=list(outputs))
