"""Keras 3's operations in an `.h5`, which names them as it names layers.

`x + y` is an `Add` there, and so is the layer; a `Reshape`, a `Dot` or an `Average` is
either too. Keras looks among its layers alone, and can't read such a file again.
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
"""Where Keras 3 has them; no two have the same name."""

_MARK = "Operation>"


def mark_operations(value: Any) -> Any:
    """Return the architecture with a name of its own for each operation's class."""
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
    """Tell it from a layer, whose config always says if it is `trainable`."""
    config = value.get("config")
    named = value.get("class_name") in ALL_OPERATIONS and "module" not in value
    return named and isinstance(config, dict) and "trainable" not in config
