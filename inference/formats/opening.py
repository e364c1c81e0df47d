"""The reader of a path, chosen by its content and never by its name."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import h5py

from inference.errors import InvalidModel, InvalidSidecar
from inference.formats.checkpoint import open_checkpoint
from inference.formats.frozen_graph import open_frozen_graph
from inference.formats.keras.reader import open_keras_file
from inference.formats.saved_model.reader import open_saved_model
from inference.permissions import Permissions
from inference.repository.checkpoints import is_graph
from inference.repository.keras_folders import is_keras_folder

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from inference.formats.graph.source import Source
    from inference.repository.sidecar import Sidecar

KERAS_SUFFIXES = {".h5", ".hdf5", ".keras"}


def open_source(
    path: Path, sidecar: Sidecar, permissions: Permissions | None = None
) -> AbstractContextManager[Source]:
    """Open the source in `path`, file or SavedModel folder. Raise `InvalidModel`."""
    allowed = permissions or Permissions()

    if path.is_dir() and is_keras_folder(path):
        return open_keras_file(path, sidecar, allowed)

    if path.is_dir():
        _refuse_keras_keys(sidecar)
        return open_saved_model(path, sidecar, allowed)

    if not path.is_file():
        raise InvalidModel(
            f"{path.name} isn't there, or is neither a file nor a folder."
        )

    if path.stat().st_size == 0:
        raise InvalidModel(f"{path.name} is empty (0 bytes). Copy or save it again.")

    if is_graph(path):
        _refuse_keras_keys(sidecar)
        return open_checkpoint(path, sidecar, allowed)

    if h5py.is_hdf5(path) or zipfile.is_zipfile(path):
        return open_keras_file(path, sidecar, allowed)

    if path.suffix.lower() in KERAS_SUFFIXES:
        raise InvalidModel(
            f"{path.name} is neither HDF5 nor a .keras zip: it is damaged, truncated "
            "or another kind of file. Copy or save it again."
        )

    _refuse_keras_keys(sidecar)
    return open_frozen_graph(path, sidecar, allowed)


def _refuse_keras_keys(sidecar: Sidecar) -> None:
    if sidecar.training:
        raise InvalidSidecar("'training' is for Keras files.")

    if sidecar.layers:
        raise InvalidSidecar(
            "'layers' is for Keras files. Of a graph, name the tensors as outputs of "
            'a signature: [signatures.serving_default] outputs = { name = "node:0" }.'
        )
