"""Copies of screened Keras models, under the names that Keras knows."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from inference.formats.keras.archive import CONFIG, METADATA, WEIGHTS
from inference.formats.keras.folder import assets_of, shards_of
from inference.formats.keras.weights import convert_bfloat16

if TYPE_CHECKING:
    from inference.formats.keras.config import KerasFile

_BLOCK = 2**20
_COUNTED = re.compile(r"(?P<kind>.+)_(?P<count>[0-9]{1,9})", re.DOTALL)
_LAYERS_BEFORE, _LAYERS = "_layer_checkpoint_dependencies", "layers"


def write_archive(keras_file: KerasFile, path: Path) -> None:
    """Write the model as a `.keras` file, with its translated architecture."""
    with zipfile.ZipFile(path, "w") as new:
        new.writestr(CONFIG, json.dumps(keras_file.config))

        if keras_file.path.is_dir():
            _add_files(keras_file.path, new)
        else:
            _add_members(keras_file.path, new, change=_is_changed(keras_file))


def needs_copy(keras_file: KerasFile) -> bool:
    """Return whether Keras can't read the model where and as it is."""
    return keras_file.path.is_dir() or _is_changed(keras_file)


def _is_changed(keras_file: KerasFile) -> bool:
    """Return whether its weights are stored in a way that tf_keras can't read.

    These are bfloat16, and those that Keras before 2.14 stored under another name.
    """
    old = keras_file.generation < 3
    return old and (keras_file.stored.opaque or keras_file.origin.before(2, 14))


def _add_files(folder: Path, new: zipfile.ZipFile) -> None:
    for file in (folder / METADATA, folder / WEIGHTS, *assets_of(folder)):
        new.write(file, file.relative_to(folder).as_posix())


def _add_members(path: Path, new: zipfile.ZipFile, *, change: bool) -> None:
    with zipfile.ZipFile(path) as old:
        for member in old.infolist():
            if member.filename == CONFIG or member.is_dir():
                continue

            if member.filename == WEIGHTS and change:
                _add_weights(old, new)
                continue

            with (
                old.open(member) as source,
                # zipfile must know beforehand that a member may exceed 2 GiB.
                new.open(_member(member.filename), "w", force_zip64=True) as copy,
            ):
                shutil.copyfileobj(source, copy, _BLOCK)


def _member(name: str) -> str:
    """Return the current path of a member."""
    # Keras before 2.14 stored vocabularies under another name.
    parts = name.split("/")
    return "/".join(_LAYERS if part == _LAYERS_BEFORE else part for part in parts)


def _add_weights(old: zipfile.ZipFile, new: zipfile.ZipFile) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        stored = Path(old.extract(WEIGHTS, scratch))

        with h5py.File(stored, "a") as file:
            _rename(file)

        new.write(convert_bfloat16(stored, stored.with_suffix(".float32")), WEIGHTS)


def _rename(group: Any) -> None:
    """Rename the groups of layers, at all depths, as Keras does since 2.14."""
    for name in list(group):
        if isinstance(group[name], h5py.Group):
            _rename(group[name])

        if name == _LAYERS_BEFORE and _LAYERS not in group:
            group.move(name, _LAYERS)
            _renumber(group[_LAYERS])


def _renumber(layers: Any) -> None:
    """Number each layer once: before 2.14 those with weights were listed twice."""
    # `_layer_checkpoint_dependencies` in `engine/functional.py` of Keras 2.13 made a
    # `dense`, a `dense_2` and a `dense_4`.
    counted = [_COUNTED.fullmatch(name) for name in layers]
    found = [each for each in counted if each and _has_weights(layers[each[0]])]

    for match in sorted(found, key=lambda match: int(match["count"])):
        count = int(match["count"]) // 2
        layers.move(match[0], f"{match['kind']}_{count}")


def _has_weights(group: Any) -> bool:
    found: list[bool] = []
    group.visititems(lambda _, each: found.append(isinstance(each, h5py.Dataset)))
    return any(found)


def write_shards(folder: Path, scratch: Path) -> Path:
    """Link the shards into `scratch`, beside a map of them alone; return the map."""
    places = shards_of(folder)

    for name in sorted({name for names in places.values() for name in names}):
        (scratch / name).symlink_to((folder / name).resolve())

    # Keras derives the first shard's name from that of the map.
    base = next(iter(places.values()))[0].rpartition("_")[0]
    path = scratch / f"{base}.weights.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return path
