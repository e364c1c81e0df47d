"""Folders that other tools write a model into: where in them it lies.

Their own files are looked for and never read: what they say of classes or of code to
import must not decide what is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.repository.layout import (
    VERSION,
    check_beside,
    is_model_file,
    is_model_folder,
    is_saved_model,
)
from inference.repository.traversal import BadEntry
from inference.repository.triton import CONFIG

if TYPE_CHECKING:
    from pathlib import Path

    from inference.repository.traversal import Boundary


LEAST_BYTES = 31
"""Of a graph with one placeholder called x; zip and HDF5 files of models have more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaging:
    """A folder as one tool writes it: it has one of `marks`, if there are any.

    Its model lies in the first of `places` that has one. `whole` says that there is no
    model elsewhere in it.
    """

    tool: str
    marks: tuple[str, ...] = ()
    places: tuple[str, ...]
    whole: bool = False


PACKAGINGS = (
    # mlflow/keras/save.py and mlflow/tensorflow/__init__.py (3.17): Keras files, an
    # exported model, a tf.Module. Before 2.0 tfmodel, before 1.0 a model.h5.
    Packaging(
        tool="MLflow",
        marks=("MLmodel",),
        places=(
            "data/model.keras",
            "data/model.h5",
            "data/model",
            "tf2model",
            "tfmodel",
            "model.h5",
        ),
        whole=True,
    ),
    # The TensorFlow backend's defaults (README of triton-inference-server's
    # tensorflow_backend); Teachable Machine exports the first too.
    Packaging(tool="Triton", places=("model.savedmodel", "model.graphdef")),
    # models/research/object_detection: exporter.py and exporter_lib_v2.py. The
    # SavedModel has signatures, the frozen graph beside it the same weights.
    Packaging(
        tool="the detection zoo",
        marks=("pipeline.config", "frozen_inference_graph.pb"),
        places=("saved_model",),
    ),
    # save_pretrained(saved_model=True) in transformers 4: weights only beside it.
    Packaging(tool="transformers", marks=("tf_model.h5",), places=("saved_model/1",)),
)


def packaged_model(folder: Path, boundary: Boundary) -> Path | None:
    """The model in a folder that a tool wrote; `None` if none of them did.

    Raises `BadEntry`, `LimitReached`, `OSError`.
    """
    if is_saved_model(folder):
        return None

    for packaging in filter(lambda each: _is_marked(folder, each), PACKAGINGS):
        for place in packaging.places:
            if _lies_at(folder, place, boundary):
                return folder / place

        if packaging.whole:
            raise BadEntry(
                f"is a folder of {packaging.tool}'s without a model that is served: "
                f"none of {', '.join(packaging.places)} lies there."
            )

    return None


def named_model(folder: Path, name: str, boundary: Boundary) -> Path:
    """The file or SavedModel that a configuration names.

    Raises `BadEntry`, `LimitReached`, `OSError`.
    """
    path = folder / name

    if not _lies_at(folder, name, boundary) and not path.is_file():
        raise BadEntry(
            f"{CONFIG} names {name}, which isn't there or holds no SavedModel."
        )

    return path


def is_packaged(folder: Path) -> bool:
    """Return whether the folder is one model's, and not a repository with others.

    In a folder that isn't a version's, what Triton names so may be a model of a name.
    """
    return any(
        _is_marked(folder, each)
        and any(_holds(folder / place) for place in each.places)
        for each in PACKAGINGS
        if each.marks or VERSION.fullmatch(folder.name)
    )


def _is_marked(folder: Path, packaging: Packaging) -> bool:
    marks = packaging.marks
    return not marks or any(os.path.lexists(folder / mark) for mark in marks)


def _lies_at(folder: Path, place: str, boundary: Boundary) -> bool:
    for name in place.split("/"):
        folder /= name
        boundary.check(folder)

    if is_model_folder(folder):
        boundary.check_tree(folder)
        return True

    if not is_model_file(folder):
        return False

    check_beside(folder, boundary)
    _check_size(folder)
    return True


def _check_size(path: Path) -> None:
    """A bare file is somebody's model, good or bad; a tool's place must have one.

    An empty one may be a copy that has just begun: the compiler judges it.
    """
    size = path.stat().st_size

    if 0 < size < LEAST_BYTES:
        raise BadEntry(
            f"{path.name} has {size} bytes, fewer than any model. Copy or save it "
            "again."
        )


def _holds(path: Path) -> bool:
    return is_model_folder(path) or is_model_file(path)
