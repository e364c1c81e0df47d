"""Keras model files: `.h5`, `.hdf5` and `.keras`, of Keras 1, 2 and 3.

Keras 3 silently reads some older files with wrong results (`hard_sigmoid` was another
function, a Sequential's shape had another rank), so the version that wrote a file
decides which Keras reads it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.backend import tf
from inference.errors import InferenceError, InvalidModel, InvalidSidecar, first_line
from inference.formats.graph.function import captured_graph
from inference.formats.graph.graphdef import prune
from inference.formats.graph.sidecar_signatures import default_signature
from inference.formats.graph.source import Source
from inference.formats.graph.tables import table_texts
from inference.formats.graph.tensors import as_array, dtype_name, shape_of
from inference.formats.keras.draws import (
    check_draws,
    check_inputs,
    drawn_from,
    freeze_statistics,
)
from inference.formats.keras.gate import admit
from inference.formats.keras.loading import import_keras, load_model
from inference.formats.keras.outputs import chosen_layers, layer_shapes, with_layers
from inference.formats.kernels.rebuilding import adapted
from inference.formats.screening.graph import screen
from inference.inputs.seeds import SEED, TRAINING
from inference.types import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from inference.formats.keras.config import KerasFile
    from inference.permissions import Permissions
    from inference.repository.sidecar import Sidecar
    from inference.types import Array


@contextmanager
def open_keras_file(
    path: Path, sidecar: Sidecar, permissions: Permissions
) -> Iterator[Source]:
    """Read a Keras file. Raise `InvalidModel` or `InvalidSidecar`."""
    if sidecar.signatures or sidecar.constants:
        raise InvalidSidecar(
            "A Keras model has its own inputs and outputs: of the sidecar's keys only "
            "input_shape, backend, layers and training, and those of how it is served, "
            "apply to it."
        )

    keras_file = admit(path, permissions, sidecar)
    keras = import_keras(keras_file.generation)
    model = load_model(keras, keras_file)
    source = _as_graph(keras, keras_file, model, sidecar)
    # The gate should admit no layer whose graph does harm; screen the graph anyway.
    screen(source.graph_def, permissions, file=path.name)

    with adapted(source):
        yield source


class KerasReference:
    """The model's own outputs, by `model(x, training=False)`.

    With an input `training` that is true, by `training=True` and masks of `seed`.
    """

    def __init__(self, keras: Any, model: Any) -> None:
        self._keras = keras
        self._model = model

    def __call__(
        self, signature: Signature, inputs: Mapping[str, Array]
    ) -> dict[str, Array]:
        given = [
            tf.constant(inputs[name], dtype=spec.dtype)
            for name, spec in signature.inputs.items()
        ]
        count = len(self._model.inputs)
        tensors, switches = given[:count], given[count:]

        if switches and bool(switches[0]):
            with drawn_from(self._keras, switches[1]):
                outputs = _listed(self._model(tensors, training=True))
        else:
            outputs = _listed(self._model(tensors, training=False))

        return {
            name: as_array(output.numpy())
            for name, output in zip(signature.outputs, outputs, strict=True)
        }


def _as_graph(
    keras: Any, keras_file: KerasFile, model: Any, sidecar: Sidecar
) -> Source:
    try:
        return _source(keras, keras_file, model, sidecar)
    except InferenceError:
        raise
    except Exception as exc:
        # A table without contents, a name that no graph can have, any error of a layer
        # when it is called.
        name = "tf_keras" if keras.__name__ == "tf_keras" else "Keras"

        if isinstance(exc, tf.errors.OperatorNotAllowedInGraphError):
            raise InvalidModel(
                f"{name} {keras.__version__} can't trace a graph of "
                f"{keras_file.path.name}: a layer, such as an UpSampling2D or a "
                "Resizing, computes with sizes that the model leaves open. Build the "
                "model with fixed sizes, keras.Input((224, 224, 3)) and the like, and "
                "save it again."
            ) from exc

        raise InvalidModel(
            f"{name} {keras.__version__} can't trace a graph of "
            f"{keras_file.path.name}: {_cause(exc)} Save the model again as a .keras "
            "file, with names of ASCII letters and digits, or export it as a "
            "SavedModel (model.export)."
        ) from exc


def _cause(error: Exception) -> str:
    """Return the error behind Keras' own "Exception encountered when calling …"."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    reason = lines[1] if lines[1:] and lines[0].startswith("Exception enc") else None
    return f"{(reason or first_line(error)).strip().rstrip('.')}."


def _source(keras: Any, keras_file: KerasFile, model: Any, sidecar: Sidecar) -> Source:
    answers = dict(zip(_layer_names(model.outputs), model.outputs, strict=True))
    layers = chosen_layers(sidecar.layers, model, answers)
    shapes = layer_shapes(model)
    model = with_layers(keras, model, layers)
    inputs, switched = _layer_names(model.inputs), sidecar.training == "optional"

    if switched:
        check_inputs(inputs)
        freeze_statistics(keras, model)

    traced = _switched(keras, model) if switched else _traced(model)
    captured = captured_graph(traced, model)
    signature = Signature(
        name="serving_default",
        inputs=_inputs(inputs, captured.inputs),
        seed=SEED if switched else None,
        outputs=_outputs(answers, layers, captured.outputs),
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
        reference=KerasReference(keras, model),
        notes=list(keras_file.notes),
        layers=shapes,
    )
    source.graph_def = prune(source.graph_def, source.tensors())

    if switched:
        check_draws(source.graph_def)

    return source


def _traced(model: Any) -> Any:
    """Return a `ConcreteFunction` that takes the model's inputs in their order."""
    function = tf.function(
        lambda *tensors: _listed(model(list(tensors), training=False)),
        input_signature=_input_specs(model),
        autograph=False,
    )
    return function.get_concrete_function()


def _switched(keras: Any, model: Any) -> Any:
    """Return a `ConcreteFunction` that takes `training` and `seed` as well."""

    def trained(tensors: list[Any], seed: Any) -> list[Any]:
        with drawn_from(keras, seed):
            return _listed(model(tensors, training=True))

    def call(*given: Any) -> Any:
        *tensors, training, seed = given
        return tf.cond(
            training,
            lambda: trained(tensors, seed),
            lambda: _listed(model(tensors, training=False)),
        )

    specs = [
        *_input_specs(model),
        tf.TensorSpec((), tf.bool, name=TRAINING),
        tf.TensorSpec((), tf.int64, name=SEED),
    ]
    function = tf.function(call, input_signature=specs, autograph=False)
    return function.get_concrete_function()


def _input_specs(model: Any) -> list[Any]:
    return [
        tf.TensorSpec(tuple(tensor.shape), _dtype(tensor), name=f"input_{position}")
        for position, tensor in enumerate(model.inputs)
    ]


def _inputs(names: list[str], tensors: list[Any]) -> dict[str, TensorSpec]:
    """Return the inputs by name, optional ones after the model's own."""
    if len(tensors) == len(names):
        return _specs(names, tensors)

    specs = _specs([*names, TRAINING, SEED], tensors)
    defaults = {TRAINING: np.array(False), SEED: np.array(0, np.int64)}
    optional = {
        name: replace(specs[name], default=value) for name, value in defaults.items()
    }
    return {**specs, **optional}


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _layer_names(tensors: list[Any]) -> list[str]:
    """Return the names of the layers that make `tensors`, with numbers if repeated."""
    # Both versions of Keras have the maker of a tensor under this private name only.
    makers = [tensor._keras_history[0].name for tensor in tensors]
    names: list[str] = []

    for maker in makers:
        count = sum(name == maker or name.startswith(f"{maker}:") for name in names)
        names.append(f"{maker}:{count}" if count else maker)

    return names


def _outputs(
    answers: Iterable[str], layers: Iterable[str], tensors: list[Any]
) -> dict[str, TensorSpec]:
    """Return the model's outputs, and those of `layers`, given on request."""
    outputs = _specs([*answers, *layers], tensors)
    on_request = {name: replace(outputs[name], on_request=True) for name in layers}
    return outputs | on_request


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
