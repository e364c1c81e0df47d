"""The version and architecture in a Keras file, read without Keras."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import h5py

from inference.errors import InvalidModel, first_line
from inference.formats.keras.archive import (
    CONFIG,
    MAX_TEXT_BYTES,
    METADATA,
    opened_archive,
    read_text,
    screen_weights,
)
from inference.formats.keras.hdf5 import screen_hdf5
from inference.formats.keras.history.origin import Origin
from inference.formats.keras.vocabulary.names import shown

if TYPE_CHECKING:
    from pathlib import Path

    from inference.formats.keras.hdf5 import Stored

Config = dict[str, Any]

_VERSION = re.compile(r"\d{1,3}(\.|$)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KerasFile:
    """A Keras model file: `container` is its suffix by content, `.h5` or `.keras`.

    `stored` is what its weights declare; `weights_only` says that `config` came from a
    JSON file beside it. `backend` is the one that wrote it, if the file says. `config`
    is `translated` if it differs from the file's; `notes` say what was changed, and
    `output_shapes` which shapes layers must have once built.
    """

    path: Path
    container: str
    version: str
    config: Config
    stored: Stored
    weights_only: bool = False
    backend: str | None = None
    translated: bool = False
    notes: tuple[str, ...] = ()
    output_shapes: tuple[tuple[str, tuple[int | None, ...]], ...] = ()

    @property
    def generation(self) -> int:
        """The major version: `tf_keras` reads 1 and 2, Keras reads 3."""
        return int(self.version.partition(".")[0] or 1)

    @property
    def origin(self) -> Origin:
        """The version and the backend that wrote it."""
        return Origin(version=self.version, backend=self.backend)


def read_keras_file(path: Path, memory_bytes: int | None) -> KerasFile:
    """Read a Keras file.

    Raise `InvalidModel` if it isn't a Keras model, has no architecture, or has anything
    in its zip or HDF5 that a model doesn't need.
    """
    if zipfile.is_zipfile(path):
        return _read_zip(path, memory_bytes)

    return _read_hdf5(path, memory_bytes)


def _read_zip(path: Path, memory_bytes: int | None) -> KerasFile:
    with opened_archive(path, memory_bytes) as archive:
        metadata = parse_config(read_text(archive, METADATA, path.name), path.name)
        config = parse_config(read_text(archive, CONFIG, path.name), path.name)
        stored = screen_weights(archive, path.name, memory_bytes)

    return KerasFile(
        path=path,
        container=".keras",
        version=checked_version(metadata.get("keras_version", "3"), path.name),
        config=untrained(config),
        stored=stored,
    )


def _read_hdf5(path: Path, memory_bytes: int | None) -> KerasFile:
    try:
        with h5py.File(path, "r") as file:
            stored = screen_hdf5(file, path.name, memory_bytes)
            attributes = {name: _text(file.attrs[name], name) for name in _read(file)}
            keys = {*file.keys(), *file.attrs.keys()}
    except (OSError, RuntimeError, UnicodeDecodeError) as exc:
        raise InvalidModel(
            f"{path.name} is a damaged or truncated HDF5 file: {first_line(exc)}. Copy "
            "or save it again."
        ) from exc

    version = attributes.get("keras_version")

    if "model_config" in attributes:
        return KerasFile(
            path=path,
            container=".h5",
            version=checked_version(version or "1", path.name),
            config=parse_config(attributes["model_config"], path.name),
            stored=stored,
            backend=attributes.get("backend"),
        )

    if not keys & {"layer_names", "layers", "_layer_checkpoint_dependencies"}:
        raise InvalidModel(
            f"{path.name} is an HDF5 file but not a Keras model: it has neither an "
            "architecture nor layers. Save the model with model.save('name.keras')."
        )

    return _with_architecture(path, version, stored, attributes.get("backend"))


def _with_architecture(
    path: Path, version: str | None, stored: Stored, backend: str | None
) -> KerasFile:
    """Return weights with the architecture in a JSON file beside them."""
    beside = path.with_suffix(".json")

    if not beside.is_file():
        raise InvalidModel(
            f"{path.name} holds only weights, no architecture. Put the architecture "
            f"beside it as {beside.name} (the text of model.to_json()), or save the "
            "whole model with model.save('name.keras')."
        )

    with beside.open("rb") as file:
        config = parse_config(file.read(MAX_TEXT_BYTES + 1), beside.name)

    return KerasFile(
        path=path,
        container=".h5",
        version=checked_version(version or architecture_version(config), beside.name),
        config=untrained(config),
        stored=stored,
        weights_only=True,
        backend=backend or _text_in(config, "backend"),
    )


def untrained(config: Config) -> Config:
    """Return `config` without the loss and the optimizer, which serving ignores."""
    return {key: value for key, value in config.items() if key != "compile_config"}


def architecture_version(config: Config) -> str:
    """Return the Keras version of an architecture in JSON."""
    # Keras 3 writes no version into its JSON, but a module into each layer.
    return str(config.get("keras_version") or ("3" if "module" in config else "1"))


def _text_in(config: Config, key: str) -> str | None:
    value = config.get(key)
    return value if isinstance(value, str) else None


def _read(file: Any) -> list[str]:
    """Return the known attributes of the file that are present."""
    known = ("keras_version", "backend", "model_config")
    names = [name for name in known if name in file.attrs]

    for name in names:
        # An array of texts isn't read at all: it may be huge.
        if file.attrs.get_id(name).shape != ():
            raise InvalidModel(f"The attribute {name} isn't a string. Save it again.")

    return names


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str | bytes):
        raise InvalidModel(f"The attribute {name} isn't a string. Save it again.")

    return value.decode("utf-8") if isinstance(value, bytes) else value


def checked_version(version: Any, name: str) -> str:
    if not isinstance(version, str) or not _VERSION.match(version):
        raise InvalidModel(
            f"{name} says that Keras '{shown(version)}' wrote it, which isn't a "
            "version. Save the model again."
        )

    return version


def parse_config(text: str | bytes, name: str) -> Config:
    """Return the architecture in a JSON text, as Keras will understand it."""
    if len(text) > MAX_TEXT_BYTES:
        raise InvalidModel(
            f"The architecture in {name} is larger than {MAX_TEXT_BYTES:,} bytes."
        )

    try:
        # This is the parser that Keras uses: two parsers may read one text differently.
        config = json.loads(text, object_pairs_hook=partial(_object, name))
    except RecursionError as exc:
        raise InvalidModel(f"The architecture in {name} is nested too deeply.") from exc
    except ValueError as exc:
        raise InvalidModel(f"The architecture in {name} isn't JSON: {exc}.") from exc

    if not isinstance(config, dict):
        raise InvalidModel(f"The architecture in {name} isn't a JSON object.")

    return config


def _object(name: str, pairs: list[tuple[str, Any]]) -> Config:
    value = dict(pairs)

    if len(value) != len(pairs):
        raise InvalidModel(
            f"The architecture in {name} has a key twice in one object, with '"
            f"{shown(', '.join(value))}'. Save the model again."
        )

    return value
