"""TensorFlow 1 checkpoints by their file names: a graph beside its weights.

`flowers.meta` has the graph; `flowers.index` and `flowers.data-00000-of-00001` have the
weights. No file is read here.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

META = ".meta"
INDEX = ".index"

_DATA = re.compile(r"(.+)\.data-([0-9]{5})-of-([0-9]{5})")
# What savers append: model.ckpt, and the number of the training step.
_STEP = re.compile(r"(.+)\.ckpt(-[0-9]+)?")
_AGAIN = (
    "save it again with tf.compat.v1.train.Saver().save(session, path), which writes "
    "all three"
)


def is_graph(path: Path) -> bool:
    """Return whether it is named like the graph of a checkpoint."""
    return path.suffix.lower() == META


def name_of(path: Path) -> str:
    """Return the model's name: `model.ckpt-1234.meta` → `model`."""
    found = _STEP.fullmatch(path.stem)
    return found[1] if found else path.stem


def weights_of(path: Path) -> list[Path]:
    """List the files of weights beside the graph at `path`, by name."""
    begins = (f"{path.stem}{INDEX}", f"{path.stem}.data-")
    names = sorted(name for name in os.listdir(path.parent) if name.startswith(begins))
    return [path.with_name(name) for name in names if _is_piece(name, path.stem)]


def incomplete(path: Path) -> str | None:
    """Describe the missing part of the checkpoint of `path`, and the remedy.

    `None` for a complete one, for other files, and for weights beside their graph: it
    is the graph that is reported.
    """
    if is_graph(path):
        return _without_weights(path)

    data = _DATA.fullmatch(path.name)
    stem = data[1] if data else path.stem
    graph = path.with_name(f"{stem}{META}")

    if graph.is_file() or not (data or _is_index(path)):
        return None

    return (
        f"weights without a graph: {graph.name} isn't beside them. Copy it too, or "
        f"{_AGAIN}; weights that Keras or TensorFlow 2 saved alone need the whole "
        "model: model.save or tf.saved_model.save."
    )


def _without_weights(path: Path) -> str | None:
    found = weights_of(path)
    names = {piece.name for piece in found}

    if f"{path.stem}{INDEX}" not in names:
        if path.with_suffix("").is_file():
            return (
                f"its weights, {path.stem}, are of the first kind of checkpoint, one "
                f"file, which isn't read. Restore it in TensorFlow and {_AGAIN}."
            )

        return f"{path.stem}{INDEX} isn't beside it. Copy it too, or {_AGAIN}."

    counts = {match[3] for name in names if (match := _DATA.fullmatch(name))}
    wanted = {
        f"{path.stem}.data-{number:05}-of-{count}"
        for count in counts or {"00001"}
        for number in range(int(count))
    }
    missing = sorted(wanted - names)

    if not missing:
        return None

    return f"{missing[0]} isn't beside it. Copy it too, or {_AGAIN}."


def _is_piece(name: str, stem: str) -> bool:
    data = _DATA.fullmatch(name)
    return name == f"{stem}{INDEX}" or bool(data and data[1] == stem)


def _is_index(path: Path) -> bool:
    # Other tools' files have the same suffix.
    return path.suffix == INDEX and len(weights_of(path)) > 1
