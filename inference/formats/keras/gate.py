"""The checks that a Keras file passes before Keras reads it.

Nothing here imports Keras.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from inference.errors import InvalidModel, InvalidSidecar, first_line
from inference.formats.keras.config import read_keras_file
from inference.formats.keras.folder import read_keras_folder
from inference.formats.keras.history.backend import check_backend
from inference.formats.keras.history.input_shape import with_input_shape
from inference.formats.keras.history.translation import translate
from inference.formats.keras.screening import screen_config
from inference.formats.keras.sizes import check_sizes
from inference.repository.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from inference.formats.keras.config import KerasFile
    from inference.permissions import Permissions

NO_SIDECAR = Sidecar()


def admit(
    path: Path, permissions: Permissions, sidecar: Sidecar = NO_SIDECAR
) -> KerasFile:
    """Return the description of the Keras file at `path`, once it is found harmless.

    The `sidecar` adds what the file doesn't say. Raise `InvalidModel` with the file,
    the place in it, and the reason.
    """
    memory_bytes = permissions.memory_bytes
    read = read_keras_folder if path.is_dir() else read_keras_file
    found = read(path, memory_bytes)
    keras_file = _translated(replace(found, backend=found.backend or sidecar.backend))
    screen_config(keras_file.config, path.name, permissions)
    keras_file = _shaped(keras_file, sidecar)
    check_sizes(keras_file.config, keras_file.stored, path.name, memory_bytes)
    return keras_file


def _translated(keras_file: KerasFile) -> KerasFile:
    """Return the file in the terms of the Keras that will read it."""
    origin, name = keras_file.origin, keras_file.path.name
    check_backend(origin, keras_file.config, name)

    with _errors_name_file(keras_file):
        found = translate(keras_file.config, origin)

    return replace(
        keras_file,
        config=found.config,
        translated=found.config != keras_file.config,
        notes=found.notes,
        output_shapes=found.output_shapes,
    )


def _shaped(keras_file: KerasFile, sidecar: Sidecar) -> KerasFile:
    """Return the file with the shape of its input, if only the sidecar has it."""
    with _errors_name_file(keras_file):
        config = with_input_shape(
            keras_file.config, sidecar.input_shape, keras_file.origin
        )

    changed = config != keras_file.config
    translated = keras_file.translated or changed
    return replace(keras_file, config=config, translated=translated)


@contextmanager
def _errors_name_file(keras_file: KerasFile) -> Iterator[None]:
    """Prefix errors with the file's name and its writer."""
    try:
        yield
    except InvalidSidecar:
        raise
    except InvalidModel as exc:
        name, version = keras_file.path.name, keras_file.version
        raise InvalidModel(f"{name}, written by Keras {version}: {exc}") from exc
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        # A value of another type than the one that this version of Keras wrote.
        raise InvalidModel(
            f"{keras_file.path.name} has an architecture that no Keras "
            f"{keras_file.version} wrote: {first_line(exc)}. It was damaged or edited; "
            "save the model again."
        ) from exc
