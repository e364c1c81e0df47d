"""Optional packages of Keras layers, and whether those of a file are installed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.keras.vocabulary.classes import OPTIONAL, top_package
from inference.formats.keras.vocabulary.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.formats.keras.config import KerasFile
Config = dict[str, Any]


def check_packages(keras_file: KerasFile) -> None:
    """Raise `InvalidModel` for a class of a package that isn't installed."""
    for each in _named(keras_file.config):
        home = top_package(each["module"])

        if home in OPTIONAL and find_spec(home) is None:
            raise InvalidModel(
                f"{keras_file.path.name} has a layer of {shown(each['module'])}, which "
                f"is allowed, but the package {home} isn't installed where models are "
                f"compiled. Install it: pip install {OPTIONAL[home]}"
            )


def classes_to_allow(config: Any, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of all classes of such packages that aren't allowed yet."""
    names = {
        str(each.get("registered_name") or each.get("class_name")): {
            each.get("registered_name"),
            each.get("class_name"),
            f"{each.get('module')}>{each.get('class_name')}",
        }
        for each in _named(config)
        if top_package(each["module"]) in OPTIONAL
    }
    return tuple(sorted(name for name in names if not names[name] & set(allowed)))


def _named(value: Any) -> Iterator[Config]:
    """Yield all objects whose class is named with a module."""
    waiting = [value]

    while waiting:
        each = waiting.pop()

        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()

            if isinstance(each.get("module"), str) and "class_name" in each:
                yield each
