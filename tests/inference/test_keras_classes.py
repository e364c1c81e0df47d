"""The names that are written down, held to the Keras and the tf_keras installed."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any

import keras
import pytest
import tf_keras
from tf_keras.src.layers import serialization
from tf_keras.src.layers.core.tf_op_layer import get_symbol_from_name

from inference.sources import keras_classes as known
from inference.sources.keras_operations import OPERATIONS, TENSORFLOW_FUNCTIONS
from inference.sources.safe_operations import safe_operations

BASES = {
    "Constraint",
    "Initializer",
    "LearningRateSchedule",
    "Loss",
    "Metric",
    "Optimizer",
    "Regularizer",
}
TAKE_FUNCTIONS = {
    "AssociativeScan",
    "Cond",
    "ForiLoop",
    "JVP",
    "Map",
    "Scan",
    "Switch",
    "VectorizedMap",
    "WhileLoop",
}
MODULES = ("core", "einops", "image", "linalg", "math", "nn", "numpy")


def classes(*modules: Any) -> set[str]:
    return {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and not name.startswith("_")
    } - {"keras_export"}


def old_layers() -> set[str]:
    """All that tf_keras finds among its layers by a name alone."""
    serialization.populate_deserializable_objects()
    found = serialization.LOCAL.ALL_OBJECTS.items()
    return {name for name, value in found if inspect.isclass(value)}


LAYERS = classes(
    keras.layers, keras.src.layers, tf_keras.layers, tf_keras.layers.experimental
)


def test_each_layer_of_keras_is_allowed_or_refused_with_a_reason() -> None:
    answered = known.LAYERS | known.MODELS | known.REFUSED.keys() | known.ABSTRACT

    assert (LAYERS | old_layers()) - answered == set()


def test_each_name_is_keras_own() -> None:
    there = LAYERS | old_layers() | classes(tf_keras.layers.experimental.preprocessing)

    assert known.LAYERS - there == set()
    assert known.REFUSED.keys() - there == set()
    assert known.ABSTRACT - there == set()


def test_nothing_is_both_allowed_and_refused() -> None:
    allowed = known.LAYERS | known.MODELS | OPERATIONS

    assert allowed & (known.REFUSED.keys() | known.ABSTRACT) == set()


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (known.INITIALIZERS, "initializers"),
        (known.REGULARIZERS, "regularizers"),
        (known.CONSTRAINTS, "constraints"),
        (known.ACTIVATIONS, "activations"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_functions_and_their_classes(names: frozenset[str], kind: str) -> None:
    """Each name is resolved by one of the two, and all classes are there."""
    libraries = [getattr(library, kind) for library in (keras, tf_keras)]

    assert {name for name in names if not resolved(name, libraries)} == set()
    assert classes(*libraries) - BASES - names == set()


def resolved(name: str, libraries: list[Any]) -> bool:
    for library in libraries:
        try:
            library.get(name)
        except (TypeError, KeyError):
            return True  # a class that wants arguments
        except ValueError:
            continue
        else:
            return True

    return False


@pytest.mark.parametrize(
    ("names", "modules"),
    [
        (known.LOSSES, (keras.losses, tf_keras.losses)),
        (known.METRICS, (keras.metrics, tf_keras.metrics)),
        (
            known.OPTIMIZERS,
            (
                keras.optimizers,
                keras.optimizers.schedules,
                tf_keras.optimizers,
                tf_keras.optimizers.schedules,
            ),
        ),
        (known.POLICIES, (keras.dtype_policies, tf_keras.mixed_precision)),
        (known.QUANTIZERS, (keras.quantizers,)),
        (known.SEEDS, (keras.random,)),
    ],
    ids=["losses", "metrics", "optimizers", "policies", "quantizers", "seeds"],
)
def test_what_a_model_has_beside_its_layers(
    names: frozenset[str], modules: tuple[Any, ...]
) -> None:
    unused = {
        "AWQConfig",
        "GPTQConfig",
        "QuantizationConfig",
        "Quantizer",
        "Reduction",
        "LossScaleOptimizer",
    }
    wrapped = {"MeanMetricWrapper"}

    assert names - classes(*modules) - wrapped == set()
    assert classes(*modules) - names - BASES - unused == set()


def test_layers_of_the_applications() -> None:
    names = ("convnext", "inception_resnet_v2")
    modules = [import_module(f"keras.src.applications.{name}") for name in names]
    own = {name for name in classes(*modules) if name not in LAYERS | known.MODELS}

    assert own == known.APPLICATIONS


def test_operations_are_those_that_take_no_function() -> None:
    modules = [import_module(f"keras.src.ops.{name}") for name in MODULES]
    there = {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, keras.Operation)
    }
    bases = {"Operation", "SegmentReduction", "ConvertToTensor"}

    assert OPERATIONS - there == set()
    assert there - OPERATIONS == TAKE_FUNCTIONS | bases


def test_tensorflow_functions_are_there_and_take_no_function() -> None:
    functions = {name: get_symbol_from_name(name) for name in TENSORFLOW_FUNCTIONS}

    assert {name for name, value in functions.items() if not callable(value)} == set()

    for name, value in functions.items():
        arguments = inspect.signature(value).parameters

        assert not {"fn", "func", "function", "body", "filename"} & set(arguments), name


def test_operations_of_tensorflow_are_those_of_a_graph() -> None:
    """A `TensorFlowOpLayer` is one of them."""
    assert {"AddV2", "MatMul", "Relu"} <= safe_operations()
    assert not {"WriteFile", "ReadFile", "PyFunc", "Abort"} & safe_operations()
