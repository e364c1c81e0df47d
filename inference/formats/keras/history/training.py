"""Training-only parts of a Keras file, replaced before anything else reads it.

Weights come from the file, whatever initialised, constrained or regularised them. So a
custom initializer, regularizer or constraint, or a nested model's custom loss, metric
or optimizer, is no reason to refuse a file, and its code is never looked for.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.formats.keras.vocabulary.classes import (
    CONSTRAINTS,
    FUNCTIONS,
    INITIALIZERS,
    REFUSED_CLASSES,
    REGULARIZERS,
    top_package,
)
from inference.formats.keras.vocabulary.names import shown

if TYPE_CHECKING:
    from inference.formats.keras.history.origin import Config

MAX_NOTES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _TrainingKey:
    """A suffix of keys: its kind, Keras' own values, and what replaces others."""

    word: str
    own: frozenset[str]
    neutral: str | None


_KINDS = {
    "_initializer": _TrainingKey(word="initializer", own=INITIALIZERS, neutral="zeros"),
    "_regularizer": _TrainingKey(word="regularizer", own=REGULARIZERS, neutral=None),
    "_constraint": _TrainingKey(word="constraint", own=CONSTRAINTS, neutral=None),
}

_CODE = frozenset({"__lambda__", "Lambda"})
_COMPILED = "compile_config"
_MAX_DEPTH = 100
"""Deeper values are left alone: the screening refuses them."""


def without_training(config: Config) -> tuple[Config, list[str]]:
    """Replace training-only parts of `config`; return it and notes on each.

    Parts with code, or with a module of Python's own, stay for the screening to refuse.
    `config` isn't changed.
    """
    notes: dict[str, None] = {}
    cleaned = _Cleaning(notes=notes).value(config, "the model", 0)
    listed = list(notes)

    if len(listed) > MAX_NOTES:
        listed[MAX_NOTES:] = [
            f"{len(listed) - MAX_NOTES} more of this kind were left out."
        ]

    return cleaned, listed


@dataclass(slots=True, kw_only=True)
class _Cleaning:
    """One walk over an architecture, with notes on what it left out."""

    notes: dict[str, None]

    def value(self, value: Any, layer: str, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            return value

        if isinstance(value, list):
            return [self.value(each, layer, depth + 1) for each in value]

        if not isinstance(value, dict):
            return value

        layer = _name(value) or layer
        kept = self._kept(value, layer)
        return {key: self.value(each, layer, depth + 1) for key, each in kept.items()}

    def _kept(self, value: Config, layer: str) -> Config:
        cleaned = {key: self._neutral(key, each, layer) for key, each in value.items()}

        if "class_name" in value and _is_removable(value.get(_COMPILED)):
            del cleaned[_COMPILED]

        return cleaned

    def _neutral(self, key: str, value: Any, layer: str) -> Any:
        kind = next((_KINDS[end] for end in _KINDS if key.endswith(end)), None)
        custom = _custom_name(value, kind.own) if kind else None

        if kind is None or custom is None:
            return value

        self.notes[
            f"The custom {kind.word} '{shown(custom)}' of layer '{layer}' was left "
            "out: the weights are in the file."
        ] = None
        return kind.neutral


def _name(value: Config) -> str | None:
    inner = value.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    return shown(name) if isinstance(name, str) and "class_name" in value else None


def _custom_name(value: Any, own: frozenset[str]) -> str | None:
    """Return the name of a custom object; `None` for Keras' own and dangerous ones."""
    if isinstance(value, str):
        return None if value in own else value

    if not isinstance(value, dict) or not isinstance(value.get("class_name"), str):
        return None

    class_name, module = value["class_name"], value.get("module")

    if class_name == "function":
        name = value.get("config")
        inner = isinstance(name, str) and name in FUNCTIONS
        return None if inner or _is_stdlib(module) else shown(name)

    if class_name in REFUSED_CLASSES or class_name.startswith("__"):
        return None

    registered = value.get("registered_name")
    is_own = class_name in own and registered in (None, class_name)
    return None if is_own or _is_stdlib(module) else class_name


def _is_stdlib(module: Any) -> bool:
    """Return whether `module` is in Python's standard library, which no model needs."""
    top = top_package(module) if isinstance(module, str) else ""
    return top in sys.stdlib_module_names and top != "builtins"


def _is_removable(compiled: Any) -> bool:
    """Return whether a compile config has nothing that the gate must refuse."""
    waiting = [compiled]

    while waiting:
        value = waiting.pop()

        if isinstance(value, dict):
            if _is_stdlib(value.get("module")) or value.get("class_name") in _CODE:
                return False

            waiting += value.values()
        elif isinstance(value, list):
            waiting += value

    return isinstance(compiled, dict)
