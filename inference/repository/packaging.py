"""Folders that other tools write a model into, and the model's place in them.

The tools' own files only mark a folder and are never read: what they say of classes or
code to import must not decide what is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inference.repository.layout import (
    VERSION,
    check_other_files,
    is_model_file,
    is_model_folder,
    is_saved_model,
)
from inference.repository.traversal import InvalidEntry
from inference.repository.triton import CONFIG

if TYPE_CHECKING:
    from pathlib import Path

    from inference.repository.traversal import SafeTraversal


LEAST_BYTES = 31
"""The size of a graph of one placeholder called x; other model files have more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaging:
    """A tool's folder layout: it has one of the files `marks`, if there are any.

    Its model lies in the first of `places` that exists. `whole` says that there is no
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


def packaged_model(folder: Path, traversal: SafeTraversal) -> Path | None:
    """Return the model in a tool's folder; `None` for any other folder.

    Raises `InvalidEntry`, `LimitReached`, `OSError`.
    """
    if is_saved_model(folder):
        return None

    for packaging in filter(lambda each: _is_marked(folder, each), PACKAGINGS):
        for place in packaging.places:
            if _lies_at(folder, place, traversal):
                return folder / place

        if packaging.whole:
            raise InvalidEntry(
                f"is a folder of {packaging.tool}'s without a model that is served: "
                f"none of {', '.join(packaging.places)} lies there."
            )

    return None


def named_model(folder: Path, name: str, traversal: SafeTraversal) -> Path:
    """Return the file or SavedModel that a configuration names.

    Raises `InvalidEntry`, `LimitReached`, `OSError`.
    """
    path = folder / name

    if not _lies_at(folder, name, traversal) and not path.is_file():
        raise InvalidEntry(
            f"{CONFIG} names {name}, which isn't there or holds no SavedModel."
        )

    return path


def is_packaged(folder: Path) -> bool:
    """Return whether the folder is one model's, and not a repository of models."""
    # Outside a version's folder, Triton's file names may be models of those names.
    return any(
        _is_marked(folder, each)
        and any(_holds(folder / place) for place in each.places)
        for each in PACKAGINGS
        if each.marks or VERSION.fullmatch(folder.name)
    )


def _is_marked(folder: Path, packaging: Packaging) -> bool:
    marks = packaging.marks
    return not marks or any(os.path.lexists(folder / mark) for mark in marks)


def _lies_at(folder: Path, place: str, traversal: SafeTraversal) -> bool:
    for name in place.split("/"):
        folder /= name
        traversal.check(folder)

    if is_model_folder(folder):
        traversal.check_tree(folder)
        return True

    if not is_model_file(folder):
        return False

    check_other_files(folder, traversal)
    _check_size(folder)
    return True


def _check_size(path: Path) -> None:
    """Raise `InvalidEntry` for a file that is too small to be a model."""
    size = path.stat().st_size

    # An empty file may be a copy that has just begun: the compiler judges it.
    if 0 < size < LEAST_BYTES:
        raise InvalidEntry(
            f"{path.name} has {size} bytes, fewer than any model. Copy or save it "
            "again."
        )


def _holds(path: Path) -> bool:
    return is_model_folder(path) or is_model_file(path)
