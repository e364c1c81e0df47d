"""Packages of layers that Keras doesn't come with: whether a file's are installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.sources.keras_homes import OPTIONAL, package

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.sources.keras_config import KerasFile


def check_packages(keras_file: KerasFile) -> None:
    """Raises `InvalidModel` for a class of a package that isn't installed."""
    for module, class_name in _named(keras_file.config):
        home = package(module)

        if home in OPTIONAL and find_spec(home) is None:
            raise InvalidModel(
                f"{keras_file.path.name} has layers of the class '{class_name}', which "
                f"is allowed, but the package {home} isn't installed where models are "
                f"compiled. Install it: pip install {OPTIONAL[home]}"
            )


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """All classes that are named with a module."""
    waiting = [value]

    while waiting:
        each = waiting.pop()

        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            module, class_name = each.get("module"), each.get("class_name")
            waiting += each.values()

            if isinstance(module, str) and isinstance(class_name, str):
                yield module, class_name
