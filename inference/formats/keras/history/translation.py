"""Translation of an old architecture for the Keras that reads it, layer by layer.

Wrappers, cells and nested models are included: every dict that names a class is
translated, the innermost first. The gate screens the result.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from inference.formats.keras.history.branches import join_branches
from inference.formats.keras.history.changes import ACTIVATIONS, CHANGES
from inference.formats.keras.history.keras1 import to_keras2_layer
from inference.formats.keras.history.origin import Translation
from inference.formats.keras.history.training import without_training

if TYPE_CHECKING:
    from inference.formats.keras.history.origin import Config, Origin

_PLAIN = (list, int, float)
_MAX_DEPTH = 100
"""Deeper values are left alone: the screening refuses them."""

_FIRST = "channels_first"
_LISTS = frozenset({"Rescaling"})
"""Layers of tf_keras that write arrays and can't read them back."""

_ORDERED = frozenset(
    f"{kind}{rank}D"
    for kind in (
        "AveragePooling",
        "Conv",
        "Cropping",
        "GlobalAveragePooling",
        "GlobalMaxPooling",
        "MaxPooling",
        "SpatialDropout",
        "UpSampling",
        "ZeroPadding",
    )
    for rank in (2, 3)
)
"""Layers whose order of axes may be missing in files; a Flatten has its own."""


def translate(config: Config, origin: Origin) -> Translation:
    """Return `config` for the Keras that reads it.

    Raise `InvalidModel` for a layer that no maintained Keras computes. `config` isn't
    changed.
    """
    config, notes = without_training(config)

    if not origin.before(3):
        return Translation(config=config, notes=tuple(notes))

    walk = _Walk(origin=origin, ordering=_ordering(config))
    translated = walk.value(config, 0)
    return Translation(
        config=translated,
        notes=(*notes, *walk.notes),
        output_shapes=tuple(walk.output_shapes.items()),
    )


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One walk over an architecture, with its notes."""

    origin: Origin
    ordering: str | None
    notes: dict[str, None] = field(default_factory=dict)
    output_shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    sequentials: int = 0

    def value(self, value: Any, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            return value

        if isinstance(value, list):
            return [self.value(each, depth + 1) for each in value]

        if not isinstance(value, dict):
            return value

        if value.get("type") == "ndarray" and isinstance(value.get("value"), _PLAIN):
            # Keras 2.0 to 2.3 wrote arrays so, those of no dimensions too
            # (`utils/generic_utils.py`, `engine/saving.py: get_json_type`); a layer
            # takes the number or the nested lists.
            return value["value"]

        inner = {key: self.value(each, depth + 1) for key, each in value.items()}
        return self._object(inner) if "class_name" in inner else inner

    def _object(self, value: Config) -> Config:
        class_name, config = value["class_name"], value.get("config")

        if not isinstance(class_name, str):
            return value

        if class_name == "Sequential" and isinstance(config, list):
            # Keras before 2.2.3 wrote a Sequential's layers alone.
            value |= join_branches({"name": self._new_name(), "layers": config})
            class_name, config = value["class_name"], value["config"]

        if not isinstance(config, dict):
            return value

        if self.origin.before(2):
            class_name, config = to_keras2_layer(class_name, config)
            self._keep_output_shape(config)

        config = {key: _activation(key, each) for key, each in config.items()}

        for change in CHANGES.get(class_name, ()):
            if change.applies(config, self.origin):
                class_name, config = (
                    change.renamed or class_name,
                    change.applied_to(config),
                )
                self._note(change.note)

        if class_name in _LISTS:
            config = {key: _plain(each) for key, each in config.items()}

        if class_name in _ORDERED and config.get("data_format") is None:
            config = config | {"data_format": self.ordering}

        return value | {"class_name": class_name, "config": config}

    def _new_name(self) -> str:
        """Return a name for a Sequential whose file has none."""
        self.sequentials += 1
        # Keras counts from 1; the same name would take the weights of another model.
        return f"sequential_{self.sequentials}_of_the_file"

    def _keep_output_shape(self, config: Config) -> None:
        """Take a deconvolution's output shape out, to be checked once it is built."""
        # Keras 1 accepted any size that fits the strides.
        shape = config.pop("output_shape", None)

        if isinstance(shape, list) and all(_is_size(each) for each in shape):
            self.output_shapes[str(config.get("name"))] = tuple(shape)

    def _note(self, note: str) -> None:
        if note:
            self.notes[note] = None


def _plain(value: Any) -> Any:
    """Return the numbers of an array that tf_keras writes into a `.keras` file."""
    if not isinstance(value, dict) or value.get("class_name") != "__numpy__":
        return value

    inner = value.get("config")
    numbers = inner.get("value") if isinstance(inner, dict) else None
    return value if numbers is None else numbers


def _activation(key: str, value: Any) -> Any:
    named = key.endswith("activation") and isinstance(value, str)
    return ACTIVATIONS.get(value, value) if named else value


def _is_size(value: Any) -> bool:
    return value is None or isinstance(value, int)


def _ordering(config: Config) -> str | None:
    """Return the default order of axes on the writer's machine."""
    # Some layers of Keras 1 don't write their order. If another layer says channels
    # first, that was the default; otherwise it is the reader's, channels last.
    waiting: list[Any] = [config]

    while waiting:
        value = waiting.pop()

        if isinstance(value, dict):
            if value.get("data_format") == _FIRST or value.get("dim_ordering") == "th":
                return _FIRST

            waiting += value.values()
        elif isinstance(value, list):
            waiting += value

    return None
