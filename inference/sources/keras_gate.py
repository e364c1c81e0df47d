"""The gate that a Keras file passes before Keras: nothing here imports or runs it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from inference.errors import InvalidModel
from inference.sources.keras_config import read_keras_file
from inference.sources.keras_history.kernels import check_backend
from inference.sources.keras_history.translation import translate
from inference.sources.keras_screening import screen_config
from inference.sources.keras_sizes import check_sizes

if TYPE_CHECKING:
    from pathlib import Path

    from inference.permissions import Permissions
    from inference.sources.keras_config import KerasFile


def admit(path: Path, permissions: Permissions) -> KerasFile:
    """What the Keras file at `path` says of itself, once all of it is found harmless.

    Raises `InvalidModel` with the file, the place in it, and the reason.
    """
    memory_bytes = permissions.memory_bytes
    keras_file = _translated(read_keras_file(path, memory_bytes))
    screen_config(keras_file.config, path.name, permissions)
    check_sizes(keras_file.config, keras_file.stored, path.name, memory_bytes)
    return keras_file


def _translated(keras_file: KerasFile) -> KerasFile:
    """Return the file in the words of the Keras that will read it."""
    origin, name = keras_file.origin, keras_file.path.name
    check_backend(origin, name)

    try:
        found = translate(keras_file.config, origin)
    except InvalidModel as exc:
        raise InvalidModel(f"{name}, written by Keras {origin.version}: {exc}") from exc

    return replace(
        keras_file,
        config=found.config,
        translated=found.config != keras_file.config,
        notes=found.notes,
        output_shapes=found.output_shapes,
    )
