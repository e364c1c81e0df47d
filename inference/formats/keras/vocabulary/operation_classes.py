"""Keras 3's operations in an `.h5`, which names them as it names layers.

`x + y` is an `Add` there, and so is the layer; `Reshape`, `Dot` and `Average` are both
too. Keras looks only among its layers, and can't read such a file back.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from inference.formats.keras.vocabulary.classes import is_keras_class
from inference.formats.keras.vocabulary.operations import ALL_OPERATIONS

Config = dict[str, Any]

MODULES = (
    "keras.src.activations.activations",
    "keras.src.ops.core",
    "keras.src.ops.einops",
    "keras.src.ops.image",
    "keras.src.ops.linalg",
    "keras.src.ops.math",
    "keras.src.ops.nn",
    "keras.src.ops.numpy",
    "keras.src.quantizers.quantizers",
)
"""The modules of Keras 3 that define them; no two have the same name."""

_MARK = "Operation>"


def mark_operations(value: Any) -> Any:
    """Return the architecture with a unique class name for each operation."""
    if isinstance(value, list):
        return [mark_operations(each) for each in value]

    if not isinstance(value, dict):
        return value

    inner = {key: mark_operations(each) for key, each in value.items()}

    if _is_operation(inner):
        inner["class_name"] = f"{_MARK}{inner['class_name']}"

    return inner


def operation_classes(keras: Any) -> dict[str, Any]:
    """Return the classes by these names, for Keras to find."""
    return {
        f"{_MARK}{name}": value
        for module in MODULES
        for name, value in vars(import_module(module)).items()
        if isinstance(value, type)
        and issubclass(value, keras.Operation)
        and is_keras_class(name, module)
    }


def _is_operation(value: Config) -> bool:
    """Return whether it is an operation: a layer's config has `trainable`."""
    config = value.get("config")
    named = value.get("class_name") in ALL_OPERATIONS and "module" not in value
    return named and isinstance(config, dict) and "trainable" not in config
