"""The kinds of repository entries, told by their names and first bytes."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from inference.repository import checkpoints
from inference.repository.keras_folders import is_keras_folder, is_shard, map_of
from inference.repository.traversal import InvalidEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inference.repository.traversal import SafeTraversal

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
VERSION = re.compile(r"[1-9][0-9]{0,17}")
SUFFIXES = {".graphdef", ".h5", ".hdf5", ".keras", checkpoints.META, ".pb"}
FOREIGN = {
    *(".ckpt", ".joblib", ".mlmodel", ".onnx", ".pbtxt", ".pickle", ".pkl", ".plan"),
    *(".pt", ".pth", ".safetensors", ".tflite"),
}
SIDECAR = "model.toml"
SUMS = "SHA256SUMS"
WARMUP = "warmup.jsonl"

# A new ext4 volume has it, readable by root alone.
LOST_AND_FOUND = "lost+found"

_SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
SAVED_MODEL_PARTS = (*_SAVED_MODEL, "variables", "assets")
"""The parts of a SavedModel; other entries of its folder are never read."""

_NUMBER_LIKE = re.compile(r"[vV]?[+-]?[0-9]+([._][0-9]+)*")
_BEGINS_AS_NUMBER = re.compile(r"[vV]?[+-]?[0-9]")
_DEEPEST = 5
_MOST_FOLDERS = 100
_MOST = 100
"""The levels that are searched below a folder without a model of its own."""

_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_version(path: Path) -> bool:
    """Return whether it is a version's folder, or a link that would be one."""
    return bool(VERSION.fullmatch(path.name)) and _is_folder(path)


def is_misnamed_version(path: Path) -> bool:
    """Return whether it looks like a version's folder: `01`, `-1`, `1.5`, `v2`."""
    number = _NUMBER_LIKE.fullmatch(path.name) and not VERSION.fullmatch(path.name)
    return bool(number) and _is_folder(path)


def is_saved_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _SAVED_MODEL)


def is_model_folder(folder: Path) -> bool:
    return is_saved_model(folder) or is_keras_folder(folder)


def name_of_folder(folder: Path) -> str:
    """Return the name of the model that is, or lies in, a folder."""
    named_as_file = folder.suffix.lower() == ".keras" and is_keras_folder(folder)
    return folder.stem if named_as_file else folder.name


def is_model_file(path: Path) -> bool:
    """Return whether a file is a model, by its suffix or HDF5's first bytes."""
    if not path.is_file():
        return False

    if path.suffix.lower() in SUFFIXES:
        return True

    with path.open("rb") as file:
        return file.read(len(_HDF5)) == _HDF5


def holds_versions(children: list[Path], *, only: bool) -> bool:
    """Return whether they are one model's: TensorFlow Serving's `model_base_path`.

    With `only`, no other model may be among them; anything else may, such as the
    sidecar, or a version that is being copied (`5.tmp`).
    """
    if not any(is_version(path) for path in children):
        return False

    return not only or not any(_is_other_model(path) for path in children)


def _is_other_model(path: Path) -> bool:
    if path.suffix.lower() in SUFFIXES:
        return True

    return _is_folder(path) and not _BEGINS_AS_NUMBER.match(path.name)


def names_of(path: Path) -> set[str]:
    """Return the names of the models that it could be; the file isn't read."""
    if path.suffix.lower() in SUFFIXES:
        return {model_name(path)}

    return {path.name, path.stem}


def model_name(path: Path) -> str:
    """Return the name of the model that a bare file is."""
    return checkpoints.name_of(path) if checkpoints.is_graph(path) else path.stem


def normalized_name(name: str) -> str:
    """Normalize a name: without a model file's suffixes, in lower case."""
    stem, dot, suffix = name.casefold().rpartition(".")
    bare = stem if dot and f".{suffix}" in SUFFIXES else name.casefold()
    return bare.removesuffix(".weights") or bare


def model_in(folder: Path, traversal: SafeTraversal) -> Path:
    """Return the one model in a folder: the folder itself, or a file of it.

    Raises `InvalidEntry`, `LimitReached`, `OSError`.
    """
    children = traversal.children(folder)

    if is_model_folder(folder):
        traversal.check_tree(folder)
        return folder

    serving = [path for path in children if _serves(path, traversal)]
    # The checkpoint that a frozen graph or a SavedModel was made from lies beside it.
    found = [each for each in serving if not checkpoints.is_graph(each)] or serving

    if found and all(map(is_shard, found)):
        raise InvalidEntry(_without_map(found[0]))

    if len(found) == 1 and not found[0].name.isprintable():
        raise InvalidEntry(f"{found[0].name} isn't a readable name; rename the file.")

    if len(found) == 1:
        check_other_files(found[0], traversal)
        return found[0]

    if not found:
        raise InvalidEntry(_nothing_in(folder, children))

    names = ", ".join(path.name for path in found)
    raise InvalidEntry(f"holds several models ({names}); keep one.")


def check_other_files(path: Path, traversal: SafeTraversal) -> None:
    """Raise `InvalidEntry` if a part of a model is missing or a bad link."""
    missing = checkpoints.incomplete(path)

    if missing:
        raise InvalidEntry(missing)

    for each in other_files(path):
        traversal.check(each)


def other_files(path: Path) -> list[Path]:
    """Return the paths of a model's other files; some may be missing."""
    if checkpoints.is_graph(path):
        return checkpoints.weights_of(path)

    return [architecture_of(path)]


def _nothing_in(folder: Path, children: list[Path]) -> str:
    parts = [f"{each.name}: {why}" for each in children if (why := _missing_at(each))]

    if parts:
        return parts[0]

    deeper = _deeper_model(children)

    if deeper is not None:
        own = VERSION.fullmatch(folder.name)
        wanted = Path(folder.name if own else f"{folder.name}/1")
        wanted = wanted / deeper.name if deeper.is_file() else wanted
        return (
            f"holds no model itself, but {deeper.relative_to(folder)} in it is one. "
            f"Serve that path, or move it to {wanted}."
        )

    foreign = [path.name for path in children if path.suffix.lower() in FOREIGN]
    also = f" {foreign[0]} is of a format that isn't served." if foreign else ""
    return (
        "holds no model; it is to have one file or SavedModel, or folders of them that "
        f"are named 1, 2, 3 …{also}"
    )


def _deeper_model(children: list[Path]) -> Path | None:
    """Return a model some folders below, as SageMaker and MLflow have it, if one is.

    No link is followed, and no more than some entries are looked at.
    """
    level = children

    for _ in range(_DEEPEST):
        folders = [path for path in level if path.is_dir() and not path.is_symlink()]
        level = []

        for folder in folders[:_MOST_FOLDERS]:
            if is_model_folder(folder):
                return folder

            with suppress(OSError), os.scandir(folder) as entries:
                level += [folder / entry.name for entry in islice(entries, _MOST)]

        level.sort()

        for path in level:
            if path.suffix.lower() in SUFFIXES and path.is_file():
                return path

    return None


def _missing_at(path: Path) -> str | None:
    return checkpoints.incomplete(path) if path.is_file() else None


def _without_map(shard: Path) -> str:
    return (
        f"holds shards of weights, but not {map_of(shard).name}, which says what is "
        "where. Copy it too, with the architecture."
    )


def architecture_of(path: Path) -> Path:
    """Return the path of the architecture of a file of weights."""
    return path.with_suffix(".json")


def nearest_file(places: Iterable[Path], traversal: SafeTraversal) -> Path | None:
    """Return the first of `places` that exists, or `None`.

    Raises `InvalidEntry` for a link that isn't followed and for other than a file.
    """
    place = next(filter(_exists, places), None)

    if place is None:
        return None

    traversal.check(place)

    if not place.is_file():
        raise InvalidEntry(f"{place.name} isn't a file.")

    return place


def _exists(path: Path) -> bool:
    # `os.path.lexists` would take any error for a missing file.
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False

    return True


def _serves(path: Path, traversal: SafeTraversal) -> bool:
    traversal.check(path)
    return is_model_file(path)


def _is_folder(path: Path) -> bool:
    return path.is_symlink() or path.is_dir()
