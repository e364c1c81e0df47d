"""What a Keras file says of itself, read without Keras: version and architecture."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py

from inference.errors import InvalidModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Config = dict[str, Any]

_NESTED = ("layer", "forward_layer", "backward_layer", "cell", "rnn_layer")


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasFile:
    """A Keras model file: `container` is its suffix by content, `.h5` or `.keras`.

    `weights_only` says that `config` came from a JSON file beside it.
    """

    path: Path
    container: str
    version: str
    config: Config
    weights_only: bool = False

    @property
    def generation(self) -> int:
        """1, 2 or 3: who may read it (`tf_keras` below 3, Keras from 3 on)."""
        return int(self.version.partition(".")[0] or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerConfig:
    """A layer as an architecture names it."""

    name: str
    class_name: str
    module: str | None
    registered_name: str | None

    @property
    def custom(self) -> bool:
        """Whether the file itself says that its class isn't Keras' own."""
        foreign = self.module is not None and self.module.split(".")[0] not in (
            "keras",
            "keras_core",
            "tf_keras",
            "tensorflow",
        )
        return foreign or ">" in (self.registered_name or self.class_name)


def read_keras_file(path: Path) -> KerasFile:
    """Raises `InvalidModel` for what isn't a Keras model, or has no architecture."""
    return _read_zip(path) if zipfile.is_zipfile(path) else _read_hdf5(path)


def layers(config: Config) -> Iterator[LayerConfig]:
    """All layers of an architecture, nested ones included."""
    body = config.get("config")
    inner = body if isinstance(body, dict) else {}

    if "class_name" in config:
        yield LayerConfig(
            name=str(inner.get("name") or config.get("name") or "unnamed"),
            class_name=str(config["class_name"]),
            module=config.get("module"),
            registered_name=config.get("registered_name"),
        )

    # Keras 1 and early 2 wrote a Sequential's layers as a bare list.
    listed = body if isinstance(body, list) else inner.get("layers") or []
    nested = [inner.get(key) for key in _NESTED]

    for entry in (*listed, *nested):
        if isinstance(entry, dict):
            yield from layers(entry)


def refuse_code(keras_file: KerasFile, known: Callable[[str], bool]) -> None:
    """Raises `InvalidModel` for layers whose code the file doesn't hold.

    `known` tells the names of the layers of the Keras that will read the file.
    """
    for layer in layers(keras_file.config):
        if layer.class_name == "Lambda":
            raise InvalidModel(
                f"Layer '{layer.name}' is a Lambda: it holds Python code, which is "
                "never run from a model file. Use a built-in layer in its place, or "
                "export the model as a SavedModel (model.export) and serve that."
            )

        if layer.custom or (layer.module is None and not known(layer.class_name)):
            raise InvalidModel(
                f"Layer '{layer.name}' is of the custom class '{layer.class_name}', "
                "whose code isn't in the file. Where that code is at hand, export the "
                "model as a SavedModel (model.export) and serve that."
            )


def _read_zip(path: Path) -> KerasFile:
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read("metadata.json"))
            config = json.loads(archive.read("config.json"))
    except KeyError as exc:
        raise InvalidModel(
            f"{path.name} is a zip file but not a Keras model: it has no metadata.json "
            "or config.json. Save the model with model.save('name.keras')."
        ) from exc
    except (zipfile.BadZipFile, ValueError, OSError) as exc:
        raise InvalidModel(
            f"{path.name} is damaged: {exc}. Copy or save it again."
        ) from exc

    version = str(metadata.get("keras_version", "3"))
    return KerasFile(path=path, container=".keras", version=version, config=config)


def _read_hdf5(path: Path) -> KerasFile:
    try:
        with h5py.File(path, "r") as file:
            attributes = {name: _text(file.attrs[name]) for name in _read(file)}
            keys = {*file.keys(), *file.attrs.keys()}
    except OSError as exc:
        raise InvalidModel(
            f"{path.name} is a damaged or cut HDF5 file: {exc}. Copy or save it again."
        ) from exc

    version = attributes.get("keras_version", "1")

    if "model_config" in attributes:
        config = _parse(attributes["model_config"], path.name)
        return KerasFile(path=path, container=".h5", version=version, config=config)

    if not keys & {"layer_names", "layers", "_layer_checkpoint_dependencies"}:
        raise InvalidModel(
            f"{path.name} is an HDF5 file but not a Keras model: it has neither an "
            "architecture nor layers. Save the model with model.save('name.keras')."
        )

    return _with_architecture(path, attributes.get("keras_version"))


def _with_architecture(path: Path, version: str | None) -> KerasFile:
    """Weights without an architecture: it may lie beside them as JSON."""
    beside = path.with_suffix(".json")

    if not beside.is_file():
        raise InvalidModel(
            f"{path.name} holds only weights, no architecture. Put the architecture "
            f"beside it as {beside.name} (the text of model.to_json()), or save the "
            "whole model with model.save('name.keras')."
        )

    config = _parse(beside.read_text("utf-8"), beside.name)
    return KerasFile(
        path=path,
        container=".h5",
        version=version or _architecture_version(config),
        config=config,
        weights_only=True,
    )


def _architecture_version(config: Config) -> str:
    """Keras 3 writes no version into its JSON, but each layer's module."""
    return str(config.get("keras_version") or ("3" if "module" in config else "1"))


def _read(file: Any) -> list[str]:
    return [name for name in ("keras_version", "model_config") if name in file.attrs]


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _parse(text: str, name: str) -> Config:
    try:
        config = json.loads(text)
    except ValueError as exc:
        raise InvalidModel(f"The architecture in {name} isn't JSON: {exc}.") from exc

    if not isinstance(config, dict):
        raise InvalidModel(f"The architecture in {name} isn't a JSON object.")

    return config
