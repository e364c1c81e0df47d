"""Screening of a Keras architecture's JSON, before Keras sees it.

Each dict with a `class_name` is something that Keras would look up and run, wherever it
stands; so all of them are checked, and only listed names pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.errors import InvalidModel
from inference.formats.keras.packages import classes_to_allow
from inference.formats.keras.vocabulary.classes import (
    ACTIVATIONS,
    CONSTRAINTS,
    FUNCTIONS,
    INITIALIZERS,
    OPTIONAL,
    OWN_PACKAGES,
    REFUSED_CLASSES,
    REGULARIZERS,
    is_keras_class,
    refused_operation,
    top_package,
)
from inference.formats.keras.vocabulary.names import shown, unsafe_path
from inference.formats.keras.vocabulary.operations import TENSORFLOW_FUNCTIONS
from inference.formats.screening.operations import safe_operations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from inference.permissions import Permissions

Config = dict[str, Any]

MAX_DEPTH = 100
MAX_PLACES = 1_000_000
"""Lists and dicts; the largest models of Keras have some ten thousand."""

_LITERALS = {
    "TensorShape",
    "__bytes__",
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
    "__tuple__",
}
_TYPES = {"CompositeTensor", "TypeSpec", "__typespec__"}
_PATHS = {
    "file_path",
    "filename",
    "filepath",
    "idf_weights",
    "initial_vocabulary",
    "origin",
    "path",
    "vocab_file",
    "vocabulary",
    "vocabulary_file",
}
"""Keys whose value, if it is a string, is read from a file."""

_AS_ACTIVATION = {"ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "ThresholdedReLU"}
_NAMED = {
    "activation": ("activation", ACTIVATIONS | _AS_ACTIVATION),
    "_initializer": ("initializer", INITIALIZERS),
    "_regularizer": ("regularizer", REGULARIZERS),
    "_constraint": ("constraint", CONSTRAINTS),
}
"""Suffixes of keys whose strings Keras looks up, with the allowed values."""

_REMEDY = "export the model as a SavedModel (model.export) and serve that."


class _NotAllowed(Exception):
    """A class of another package, which the operator may allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Location:
    """A list or a dict in the JSON: its holder, its key there, and its layer."""

    value: list[Any] | Config
    layer: str
    depth: int = 0
    key: str | int = "config"
    holder: _Location | None = None

    def path(self) -> str:
        step = f"[{self.key}]" if isinstance(self.key, int) else f".{shown(self.key)}"
        return self.holder.path() + step if self.holder else step.removeprefix(".")


def screen_config(config: Config, name: str, permissions: Permissions) -> None:
    """Raise `InvalidModel` for anything in `config` that Keras mustn't be given.

    `name` is the file's name in errors.
    """
    # Iterators hold only the path to the current place in memory.
    waiting = [iter([_Location(value=config, layer="unnamed")])]
    seen = 0

    while waiting:
        location = next(waiting[-1], None)

        if location is None:
            waiting.pop()
            continue

        seen += 1

        if seen > MAX_PLACES:
            raise InvalidModel(f"{name}: the JSON has over {MAX_PLACES:,} objects.")

        try:
            _screen(location, permissions)
        except _NotAllowed as exc:
            names = ",".join(classes_to_allow(config, permissions.allow_classes))
            allow = f"start with --allow-classes '{shown(names)}', or {_REMEDY}"
            raise InvalidModel(f"{name}, at {location.path()}: {exc} {allow}") from None
        except InvalidModel as exc:
            raise InvalidModel(f"{name}, at {location.path()}: {exc}") from None

        waiting.append(_children(location))


def _children(location: _Location) -> Iterator[_Location]:
    value = location.value
    items = value.items() if isinstance(value, dict) else enumerate(value)

    for key, child in items:
        if isinstance(child, dict | list):
            yield _Location(
                value=child,
                layer=_layer_name(child) or location.layer,
                depth=location.depth + 1,
                key=key,
                holder=location,
            )


def _layer_name(value: Any) -> str | None:
    inner = value.get("config") if isinstance(value, dict) else None
    named = inner if isinstance(inner, dict) and "class_name" in value else {}
    name = named.get("name")
    return shown(name) if isinstance(name, str) else None


def _screen(location: _Location, permissions: Permissions) -> None:
    if location.depth > MAX_DEPTH:
        raise InvalidModel(f"the JSON is nested deeper than {MAX_DEPTH}.")

    if isinstance(location.value, list):
        return

    if "class_name" in location.value:
        _screen_object(
            location.value, _layer_name(location.value) or location.layer, permissions
        )

    for key, value in location.value.items():
        if isinstance(value, str):
            _screen_text(key, value, location.layer)


def _screen_text(key: str, text: str, layer: str) -> None:
    if key == "name" and (odd := unsafe_path(text)):
        raise InvalidModel(
            f"'{shown(text)}' {odd}. Rename it and save the model again."
        )

    if key in _PATHS:
        raise InvalidModel(
            f"'{key}' of layer '{layer}' is the path '{shown(text)}': a model file may "
            "not name files to read. Put the values themselves there."
        )

    for ending, (kind, allowed) in _NAMED.items():
        if key.endswith(ending) and text not in allowed:
            raise InvalidModel(
                f"layer '{layer}' names the {kind} '{shown(text)}', which Keras "
                f"doesn't have. If you have its code, {_REMEDY}"
            )


def _screen_object(value: Config, layer: str, permissions: Permissions) -> None:
    class_name, module = value["class_name"], value.get("module")
    registered = value.get("registered_name")
    texts = (class_name, module or "", registered or "")

    if not all(isinstance(text, str) for text in texts):
        raise InvalidModel(
            f"layer '{layer}' names a class by a value that isn't a string."
        )

    if class_name in _LITERALS:
        # With a module they are looked up there, which could import any module.
        if module or registered:
            raise InvalidModel(f"layer '{layer}' has a {class_name} of a module.")

        return

    if class_name == "__lambda__":
        raise InvalidModel(_refusal(layer, class_name, REFUSED_CLASSES["Lambda"]))

    if class_name in _TYPES:
        raise InvalidModel(_refusal(layer, class_name, "it names a Python type"))

    if class_name == "function":
        _screen_function(value, layer)
        return

    # A registered name is "package>class".
    reason = REFUSED_CLASSES.get(class_name.rpartition(">")[2])

    if reason := reason or refused_operation(class_name, module):
        raise InvalidModel(_refusal(layer, class_name, reason))

    if not _listed(class_name, module, registered):
        _check_permission(value, layer, permissions)

    _screen_call(class_name, value.get("config"), layer, permissions)


def _listed(class_name: str, module: str | None, registered: str | None) -> bool:
    """Return whether it is a class of Keras' own, under its own name."""
    return registered in (None, class_name) and is_keras_class(class_name, module)


def _check_permission(value: Config, layer: str, permissions: Permissions) -> None:
    class_name, module = value["class_name"], value.get("module")
    names = {class_name, value.get("registered_name"), f"{module}>{class_name}"}
    called = shown(value.get("registered_name") or class_name)
    home = shown(module or "no module")

    if not names & set(permissions.allow_classes):
        if top_package(module) in OPTIONAL:
            raise _NotAllowed(_optional(layer, called, top_package(module)))

        raise InvalidModel(
            f"layer '{layer}' is of the custom class '{called}' of "
            f"{home}: it isn't one that Keras files may name, and its "
            f"code isn't in the file. If you have that code, {_REMEDY}"
        )

    if top_package(module) not in OWN_PACKAGES:
        raise InvalidModel(
            f"layer '{layer}' is of the class '{called}', which is allowed, but its "
            f"code can't be loaded: it is in {home}, and only "
            f"{', '.join(OWN_PACKAGES)} are searched. If you have it, {_REMEDY}"
        )


def _optional(layer: str, called: str, home: str) -> str:
    return (
        f"layer '{layer}' is of the class '{called}' of the package {home}, which "
        "isn't Keras' own. If you trust that package, install it where models are "
        f"compiled (pip install {OPTIONAL[home]}) and"
    )


def _screen_function(value: Config, layer: str) -> None:
    name, module = value.get("config"), value.get("module")
    registered = value.get("registered_name")
    own = isinstance(name, str) and name in FUNCTIONS
    home = module in (None, "builtins") or is_keras_class("function", module)

    if not own or not home or registered not in (None, name):
        raise InvalidModel(
            f"layer '{layer}' names the function '{shown(name)}' of "
            f"{shown(module or 'no module')}, which isn't one of Keras' activations, "
            f"initializers, regularizers or constraints. Without it, save it again, or "
            f"{_REMEDY}"
        )


def _screen_call(
    class_name: str, config: Any, layer: str, permissions: Permissions
) -> None:
    """Screen layers of Keras 2 that call TensorFlow by the name of a function or op."""
    inner = config if isinstance(config, dict) else {}

    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        called = str(inner.get("function")).removeprefix("compat.v1.")
        allowed = called in TENSORFLOW_FUNCTIONS
    elif class_name == "TensorFlowOpLayer":
        node = inner.get("node_def")
        called = str(node.get("op") if isinstance(node, dict) else node)
        allowed = called in safe_operations() | set(permissions.allow_ops)
    else:
        return

    if not allowed:
        raise InvalidModel(
            f"layer '{layer}' calls TensorFlow's '{shown(called)}', which isn't among "
            f"the functions that only compute. Use a built-in layer, or {_REMEDY}"
        )


def _refusal(layer: str, class_name: str, reason: str) -> str:
    return (
        f"layer '{layer}' is a {shown(class_name)}: {reason}. Use a built-in layer in "
        f"its place, or {_REMEDY}"
    )
