"""Weights in HDF5 files of older Keras, converted for the Keras that reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import ml_dtypes

from inference.formats.keras.history.kernels import (
    flip,
    flipped_variables,
    parts_of_keras1,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.formats.keras.history.origin import Origin
    from inference.types import Array

_BYTES = 2
"""Of Keras' types of two bytes only bfloat16 is unknown to NumPy."""


def load_weights(keras: Any, model: Any, group: Any, origin: Origin) -> None:
    """Assign the weights in `group` to `model`, of tf_keras.

    By the names of the layers if all are in the file, else by their order. Raise
    `ValueError` if they don't fit.
    """
    from tf_keras.src.saving.legacy import hdf5_format

    layers = [layer for layer in model.layers if layer.weights]
    stored = {
        name: hdf5_format.load_subset_weights_from_hdf5_group(group[name])
        for name in hdf5_format.load_attributes_from_hdf5_group(group, "layer_names")
    }
    names = _in_order([name for name in stored if stored[name]], layers)
    reversed_ = flipped_variables(list(model._flatten_layers()), origin)
    pairs: list[tuple[Any, Array]] = []

    for layer, name in zip(layers, names, strict=True):
        for part, values in _parts(layer, stored[name], origin):
            variables = [*part.trainable_weights, *part.non_trainable_weights]
            taken = _as_taken(hdf5_format, part, values, origin)
            pairs += _paired(part, variables, taken)

    if "top_level_model_weights" in group:
        own = [*model._trainable_weights, *model._non_trainable_weights]
        values = hdf5_format.load_subset_weights_from_hdf5_group(
            group["top_level_model_weights"]
        )
        pairs += _paired(model, own, values)

    keras.backend.batch_set_value(
        [
            (variable, flip(value) if id(variable) in reversed_ else value)
            for variable, value in pairs
        ]
    )


def _in_order(names: list[str], layers: list[Any]) -> list[str]:
    """Return the stored `names` in the order of `layers`. Raise `ValueError`."""
    if len(names) != len(layers):
        raise ValueError(
            f"the architecture has {len(layers)} layers with weights, the file "
            f"{len(names)}"
        )

    own = [layer.name for layer in layers]
    return own if set(own) == set(names) else names


def _parts(
    layer: Any, values: list[Array], origin: Origin
) -> Iterator[tuple[Any, list[Array]]]:
    if origin.before(2):
        yield from parts_of_keras1(layer, values)
    else:
        yield layer, values


def _as_taken(
    hdf5_format: Any, layer: Any, values: list[Array], origin: Origin
) -> list[Array]:
    version = "1" if origin.before(2) else origin.version
    taken: list[Array] = hdf5_format.preprocess_weights_for_loading(
        layer, values, version, origin.backend
    )
    return taken


def _paired(
    layer: Any, variables: list[Any], values: list[Array]
) -> list[tuple[Any, Array]]:
    if len(variables) != len(values):
        raise ValueError(
            f"layer '{layer.name}' takes {len(variables)} weights, the file has "
            f"{len(values)} for it"
        )

    return list(zip(variables, values, strict=True))


def convert_bfloat16(path: Path, copy: Path) -> Path:
    """Return a screened HDF5 file for Keras: `path`, or a `copy` in float32."""
    with h5py.File(path, "r") as file:
        # HDF5 has no bfloat16: Keras writes it as opaque bytes, which h5py can't cast
        # to numbers.
        opaque = _opaque(file)

        if not opaque:
            return path

        with h5py.File(copy, "w") as new:
            for key in file:
                file.copy(key, new)

            for key in file.attrs:
                new.attrs[key] = file.attrs[key]

            for name in opaque:
                values = new[name][()].view(ml_dtypes.bfloat16).astype("float32")
                del new[name]
                new[name] = values

    return copy


def _opaque(file: Any) -> list[str]:
    found: list[str] = []

    def look(name: str, each: Any) -> None:
        if isinstance(each, h5py.Dataset) and _is_bfloat16(each):
            found.append(name)

    file.visititems(look)
    return found


def _is_bfloat16(dataset: Any) -> bool:
    kind = dataset.id.get_type()
    return isinstance(kind, h5py.h5t.TypeOpaqueID) and kind.get_size() == _BYTES
