"""Keras model files: `.h5`, `.hdf5` and `.keras`, of Keras 1, 2 and 3.

Keras 3 reads older files with wrong numbers and without a word (`hard_sigmoid` was
another function, a Sequential's shape another rank), so the version that wrote a file
decides who reads it.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from inference.backend import quiet_stderr, tf
from inference.errors import InferenceError, InvalidModel, InvalidSidecar
from inference.reasons import first_line
from inference.sources.captured import captured_graph
from inference.sources.declared import default_signature
from inference.sources.graphs import prune
from inference.sources.keras_gate import admit
from inference.sources.keras_sizes import allowed_values
from inference.sources.keras_weights import bounded_weights
from inference.sources.kernels.rebuilding import adapted
from inference.sources.screening import screen
from inference.sources.source import Source
from inference.sources.tables import table_texts
from inference.sources.tensors import as_array, dtype_name, shape_of
from inference.types import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from inference.permissions import Permissions
    from inference.sidecar import Sidecar
    from inference.sources.keras_config import KerasFile
    from inference.types import Array


@contextmanager
def open_keras_file(
    path: Path, sidecar: Sidecar, permissions: Permissions
) -> Iterator[Source]:
    """Read a Keras file; raises `InvalidModel`, `InvalidSidecar`."""
    if sidecar.signatures or sidecar.constants:
        raise InvalidSidecar(
            "A Keras model has its own inputs and outputs: of the sidecar's keys only "
            "default_signature and concurrency apply to it."
        )

    keras_file = admit(path, permissions)
    keras = _import_keras(keras_file.generation)
    model = _flat(keras, _load(keras, keras_file))
    source = _as_graph(keras, keras_file, model, sidecar)
    # Nothing that the gate let through should make a graph that reaches outside.
    screen(source.graph_def, permissions, file=path.name)

    with adapted(source):
        yield source


class KerasReference:
    """The model's own answers, by `model(x, training=False)`."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(
        self, signature: Signature, inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        tensors = [
            tf.constant(inputs[name], dtype=spec.dtype)
            for name, spec in signature.inputs.items()
        ]
        outputs = _listed(self._model(tensors, training=False))
        return {
            name: as_array(output.numpy())
            for name, output in zip(signature.outputs, outputs, strict=True)
        }


def _import_keras(generation: int) -> Any:
    os.environ["KERAS_BACKEND"] = "tensorflow"

    with quiet_stderr():
        if generation >= 3:
            import keras

            return keras

        import tf_keras

        return tf_keras


def _operations(keras: Any) -> dict[str, Any]:
    """Keras 3's array operations by class: it writes the one behind an `Embedding`'s
    mask into an `.h5`, and doesn't find it there again without help.
    """
    if not hasattr(keras, "Operation"):
        return {}

    from keras.src.ops import numpy as operations

    return {
        name: value
        for name, value in vars(operations).items()
        if isinstance(value, type)
        and issubclass(value, keras.Operation)
        and not hasattr(keras.layers, name)
    }


def _load(keras: Any, keras_file: KerasFile) -> Any:
    """Keras chooses a reader by the file's name, so it gets one that fits."""
    suffix = ".weights.h5" if _new_weights(keras_file) else keras_file.container

    with tempfile.TemporaryDirectory() as scratch:
        named = Path(scratch, f"model{suffix}")
        named.symlink_to(keras_file.path.resolve())

        bound = allowed_values(keras_file.stored)

        try:
            with bounded_weights(keras.layers.Layer, keras_file.path.name, bound):
                return _built(keras, keras_file, named)
        except InvalidModel:
            raise
        except Exception as exc:
            # Keras raises whatever its layers raise.
            raise InvalidModel(_unreadable(keras, keras_file, exc)) from exc


def _built(keras: Any, keras_file: KerasFile, named: Path) -> Any:
    if not keras_file.weights_only:
        return _load_model(keras, keras_file.generation, named)

    # What was screened, not what may lie there by now.
    model = keras.models.model_from_json(json.dumps(keras_file.config))
    model.load_weights(str(named))
    return model


def _unreadable(keras: Any, keras_file: KerasFile, error: Exception) -> str:
    name = keras_file.path.name
    reason = first_line(error)

    if keras_file.weights_only:
        beside = keras_file.path.with_suffix(".json").name
        return f"The weights in {name} don't fit the architecture in {beside}: {reason}"

    if isinstance(error, KeyError):
        return f"{name} has no weights for {reason}; it is cut or was edited."

    return (
        f"Keras {keras.__version__} can't read {name}, written by Keras "
        f"{keras_file.version}: {reason.rstrip('.')}. Where the model's code is at "
        "hand, save it again as a .keras file, or export it as a SavedModel "
        "(model.export)."
    )


def _load_model(keras: Any, generation: int, path: Path) -> Any:
    # compile=False: optimizers of older Keras have arguments that are refused now.
    if generation >= 3:
        return keras.saving.load_model(
            str(path),
            compile=False,
            safe_mode=True,
            custom_objects=_operations(keras),
        )

    return keras.models.load_model(str(path), compile=False)


def _new_weights(keras_file: KerasFile) -> bool:
    if not keras_file.weights_only or keras_file.generation < 3:
        return False

    with h5py.File(keras_file.path, "r") as file:
        return "layer_names" not in file.attrs


def _flat(keras: Any, model: Any) -> Any:
    """The same model over flat lists, whatever structure it takes and gives."""
    inputs = getattr(model, "inputs", None)
    outputs = getattr(model, "outputs", None)

    if not inputs or not outputs:
        raise InvalidModel(
            "The model has no Input layer, so the shape it takes isn't known. Add "
            "keras.Input(shape) as its first layer and save it again."
        )

    return keras.Model(inputs=list(inputs), outputs=list(outputs))


def _as_graph(
    keras: Any, keras_file: KerasFile, model: Any, sidecar: Sidecar
) -> Source:
    try:
        return _source(keras_file, model, sidecar)
    except InferenceError:
        raise
    except Exception as exc:
        # A table without contents, a name that no graph can have, whatever a layer
        # finds when it is called.
        raise InvalidModel(
            f"Keras {keras.__version__} can't make a graph of {keras_file.path.name}: "
            f"{_last_words(exc)} Save the model again as a .keras file, with names of "
            "ASCII letters and digits, or export it as a SavedModel (model.export)."
        ) from exc


def _last_words(error: Exception) -> str:
    """What is behind Keras' own "Exception encountered when calling …"."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    said = lines[1] if lines[1:] and lines[0].startswith("Exception enc") else None
    return f"{(said or first_line(error)).strip().rstrip('.')}."


def _source(keras_file: KerasFile, model: Any, sidecar: Sidecar) -> Source:
    captured = captured_graph(_traced(model), model)
    signature = Signature(
        name="serving_default",
        inputs=_specs(_layer_names(model.inputs), captured.inputs),
        outputs=_specs(_layer_names(model.outputs), captured.outputs),
    )
    signatures = {signature.name: signature}
    source = Source(
        format=f"Keras {keras_file.container}",
        writer=f"Keras {keras_file.version}",
        graph_def=captured.graph_def,
        variables=captured.variables,
        tables=captured.tables,
        texts=table_texts(captured.tables),
        signatures=signatures,
        default_signature=default_signature(signatures, sidecar),
        reference=KerasReference(model),
    )
    source.graph_def = prune(source.graph_def, source.tensors())
    return source


def _traced(model: Any) -> Any:
    """A `ConcreteFunction` that takes the model's inputs in their order."""
    specs = [
        tf.TensorSpec(tuple(tensor.shape), _dtype(tensor), name=f"input_{position}")
        for position, tensor in enumerate(model.inputs)
    ]
    function = tf.function(
        lambda *tensors: _listed(model(list(tensors), training=False)),
        input_signature=specs,
        autograph=False,
    )
    return function.get_concrete_function()


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _layer_names(tensors: list[Any]) -> list[str]:
    """The names of the layers that make `tensors`, numbered where one makes several."""
    makers = [tensor._keras_history[0].name for tensor in tensors]
    names: list[str] = []

    for maker in makers:
        count = sum(name == maker or name.startswith(f"{maker}:") for name in names)
        names.append(f"{maker}:{count}" if count else maker)

    return names


def _specs(names: list[str], tensors: list[Any]) -> dict[str, TensorSpec]:
    return {
        name: TensorSpec(
            name=name,
            tensor=tensor.name,
            dtype=dtype_name(tensor.dtype),
            shape=shape_of(tensor.shape),
        )
        for name, tensor in zip(names, tensors, strict=True)
    }


def _dtype(tensor: Any) -> Any:
    return tf.dtypes.as_dtype(tensor.dtype)
