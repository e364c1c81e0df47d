"""The listed names, against the installed Keras and tf_keras."""

from __future__ import annotations

import inspect
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import keras
import pytest
import tf_keras
from keras.src import layers as all_layers
from keras.src.saving import serialization_lib
from tf_keras.src.layers import serialization
from tf_keras.src.layers.core.tf_op_layer import get_symbol_from_name

from inference.errors import InvalidModel
from inference.formats.keras.screening import screen_config
from inference.formats.keras.vocabulary import classes
from inference.formats.keras.vocabulary.classes import is_keras_class, refused_operation
from inference.formats.keras.vocabulary.operation_classes import (
    mark_operations,
    operation_classes,
)
from inference.formats.keras.vocabulary.operations import (
    ALL_OPERATIONS,
    BASES,
    OPERATIONS,
    REFUSED_OPERATIONS,
    TENSORFLOW_FUNCTIONS,
)
from inference.formats.screening.operations import safe_operations
from inference.permissions import Permissions

ABSTRACT = {
    "Constraint",
    "Initializer",
    "LearningRateSchedule",
    "Loss",
    "Metric",
    "Optimizer",
    "Regularizer",
}
OTHER_BACKENDS = ("jax", "mlx", "numpy", "openvino", "torch")


def public_classes(*modules: Any) -> set[str]:
    return {
        name
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and not name.startswith("_")
    } - {"keras_export"}


def old_layers() -> set[str]:
    """Return all names that tf_keras finds among its layers."""
    serialization.populate_deserializable_objects()
    found = serialization.LOCAL.ALL_OBJECTS.items()
    return {name for name, value in found if inspect.isclass(value)}


LAYERS = public_classes(
    keras.layers, all_layers, tf_keras.layers, tf_keras.layers.experimental
)


def test_each_layer_of_keras_is_allowed_or_refused_with_a_reason() -> None:
    answered = (
        classes.LAYERS
        | classes.MODELS
        | classes.REFUSED_CLASSES.keys()
        | classes.ABSTRACT
    )

    assert (LAYERS | old_layers()) - answered == set()


def test_each_name_exists_in_keras() -> None:
    there = (
        LAYERS
        | old_layers()
        | public_classes(tf_keras.layers.experimental.preprocessing)
    )

    assert classes.LAYERS - there == set()
    nodes = {name for name, _ in operations_of_keras()}

    others = {"FeatureSpace", *public_classes(keras.quantizers)}

    assert classes.REFUSED_CLASSES.keys() - there - nodes - others == set()
    assert classes.ABSTRACT - there - nodes == set()


def test_nothing_is_both_allowed_and_refused() -> None:
    allowed = classes.LAYERS | classes.MODELS | OPERATIONS

    assert allowed & (classes.REFUSED_CLASSES.keys() | classes.ABSTRACT) == set()


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (classes.INITIALIZERS, "initializers"),
        (classes.REGULARIZERS, "regularizers"),
        (classes.CONSTRAINTS, "constraints"),
        (classes.ACTIVATIONS, "activations"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_functions_and_their_classes(names: frozenset[str], kind: str) -> None:
    """Each name is resolved by one of the two, and all classes are there."""
    libraries = [getattr(library, kind) for library in (keras, tf_keras)]

    assert {name for name in names if not resolved(name, libraries)} == set()
    assert public_classes(*libraries) - ABSTRACT - names == set()


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
        (classes.LOSSES, (keras.losses, tf_keras.losses)),
        (classes.METRICS, (keras.metrics, tf_keras.metrics)),
        (
            classes.OPTIMIZERS,
            (
                keras.optimizers,
                keras.optimizers.schedules,
                tf_keras.optimizers,
                tf_keras.optimizers.schedules,
            ),
        ),
        (classes.POLICIES, (keras.dtype_policies, tf_keras.mixed_precision)),
        (classes.QUANTIZERS, (keras.quantizers,)),
        (classes.SEEDS, (keras.random,)),
    ],
    ids=["losses", "metrics", "optimizers", "policies", "quantizers", "seeds"],
)
def test_other_serialized_classes(
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

    assert names - public_classes(*modules) - wrapped == set()
    assert public_classes(*modules) - names - ABSTRACT - unused == set()


def test_layers_of_the_applications() -> None:
    names = ("convnext", "inception_resnet_v2")
    modules = [import_module(f"keras.src.applications.{name}") for name in names]
    own = {
        name for name in public_classes(*modules) if name not in LAYERS | classes.MODELS
    }

    assert own == classes.APPLICATIONS


@cache
def operations_of_keras() -> dict[tuple[str, str], type]:
    """Return all possible nodes of a Keras 3 model, with their modules."""
    return {
        (name, module.__name__): value
        for module in modules_of_keras()
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, keras.Operation)
        and value.__module__ == module.__name__
    }


def modules_of_keras() -> list[Any]:
    names = [
        each.name
        for each in walk_packages(import_module("keras.src").__path__, "keras.src.")
    ]
    used = [name for name in names if not name.endswith(("_test", "torchtree_impl"))]
    left_out = tuple(f"keras.src.backend.{name}" for name in OTHER_BACKENDS)
    return [import_module(name) for name in used if not name.startswith(left_out)]


def test_each_operation_of_keras_is_allowed_or_refused_with_a_reason() -> None:
    reasons = (
        classes.REFUSED_CLASSES.keys()
        | REFUSED_OPERATIONS.keys()
        | classes.ABSTRACT
        | BASES
    )
    there = operations_of_keras()
    open_ones = {name for name, module in there if not is_keras_class(name, module)}

    assert open_ones - reasons == set()
    assert {name for name in reasons if is_keras_class(name, None)} == set()
    assert {name for name, module in there if refused_operation(name, module)} == (
        REFUSED_OPERATIONS.keys()
    )


def test_allowed_operations_are_found_in_both_kinds_of_files() -> None:
    found = operation_classes(keras)

    assert {name.removeprefix("Operation>") for name in found} == ALL_OPERATIONS
    assert ALL_OPERATIONS - {name for name, _ in operations_of_keras()} == set()

    for value in found.values():
        looked_up = serialization_lib._retrieve_class_or_fn(
            value.__name__, value.__name__, value.__module__, "class", {}, {}
        )
        assert looked_up is value


def test_layer_named_like_an_operation_is_told_by_config() -> None:
    layers = {name: getattr(keras.layers, name, None) for name in ALL_OPERATIONS}
    arguments: dict[str, Any] = {"Dot": {"axes": 1}, "Reshape": {"target_shape": (2,)}}
    both = {name: layer for name, layer in layers.items() if layer is not None}

    assert {"Add", "Dot", "ReLU", "Reshape", "Softmax"} <= both.keys()

    for name, layer in both.items():
        config = layer(**arguments.get(name, {})).get_config()
        value = {"class_name": name, "config": config}

        assert mark_operations(value) == value
        assert mark_operations({"class_name": name, "config": {}}) != value


@pytest.mark.parametrize("name", sorted(REFUSED_OPERATIONS))
def test_operation_that_takes_a_function_is_refused(name: str) -> None:
    config = {"class_name": name, "config": {"name": "node"}}

    for module in ("keras.src.ops.core", "keras.src.ops.linalg", None):
        with pytest.raises(InvalidModel, match=f"'node' is a {name}: it takes a Pyth"):
            screen_config({**config, "module": module}, "m.keras", Permissions())

    own = {**config, "module": "mine.layers", "registered_name": f"mine>{name}"}

    with pytest.raises(InvalidModel, match=f"custom class 'mine>{name}'"):
        screen_config(own, "m.keras", Permissions())


def test_tensorflow_functions_exist_and_take_no_function() -> None:
    functions = {name: get_symbol_from_name(name) for name in TENSORFLOW_FUNCTIONS}

    assert {name for name, value in functions.items() if not callable(value)} == set()

    for name, value in functions.items():
        arguments = inspect.signature(value).parameters

        assert not {"fn", "func", "function", "body", "filename"} & set(arguments), name


def test_tensorflow_op_layers_use_graph_operations() -> None:
    """A `TensorFlowOpLayer` is one of them."""
    assert {"AddV2", "MatMul", "Relu"} <= safe_operations()
    assert not {"WriteFile", "ReadFile", "PyFunc", "Abort"} & safe_operations()
