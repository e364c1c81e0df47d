"""Keras 3 models in folders: those saved with `zipped=False`, and sharded weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py

from inference.errors import InvalidModel, first_line
from inference.formats.keras.archive import (
    ASSETS,
    CONFIG,
    MAX_MEMBERS,
    MAX_TEXT_BYTES,
    METADATA,
    WEIGHTS,
)
from inference.formats.keras.config import (
    KerasFile,
    architecture_version,
    checked_version,
    parse_config,
    untrained,
)
from inference.formats.keras.hdf5 import Stored, screen_hdf5
from inference.formats.keras.vocabulary.names import shown
from inference.repository.keras_folders import base_of, is_shard, is_whole, shard_map

if TYPE_CHECKING:
    from pathlib import Path

Config = dict[str, Any]

MAX_SHARDS = 10_000


def read_keras_folder(path: Path, memory_bytes: int | None) -> KerasFile:
    """Read a Keras folder.

    Raise `InvalidModel` if parts are missing, or it has parts that no model needs.
    """
    if is_whole(path):
        return _read_saved(path, memory_bytes)

    return _read_sharded(path, memory_bytes)


def shards_of(path: Path) -> dict[str, list[str]]:
    """Return the entries of the folder's weight map, with the files of each.

    Raise `InvalidModel` for names that aren't its shards.
    """
    found = shard_map(path)

    if found is None:
        raise InvalidModel(f"{path.name} has neither {WEIGHTS} nor shards of it.")

    places = _parsed(found).get("weight_map")

    if not isinstance(places, dict):
        raise InvalidModel(f"{found.name} isn't a map of weights. Save them again.")

    listed = {
        place: [str(name) for name in (names if isinstance(names, list) else [names])]
        for place, names in places.items()
    }

    for name in {name for names in listed.values() for name in names}:
        _check_shard(found, name)

    return listed


def _check_shard(found: Path, name: str) -> None:
    beside = found.parent / name

    if "/" in name or not is_shard(beside) or base_of(beside) != base_of(found):
        raise InvalidModel(
            f"{found.name} names '{shown(name)}', which isn't one of its shards. Save "
            "the weights again."
        )

    if not beside.is_file():
        raise InvalidModel(
            f"{found.name} names {name}, which isn't there. Copy all its shards."
        )


def _read_saved(path: Path, memory_bytes: int | None) -> KerasFile:
    metadata, config = _parsed(path / METADATA), _parsed(path / CONFIG)
    _check_assets(path, memory_bytes)
    version = metadata.get("keras_version", "3")

    return KerasFile(
        path=path,
        container=".keras",
        version=checked_version(version, f"{path.name}/{METADATA}"),
        config=untrained(config),
        stored=_screened(path / WEIGHTS, memory_bytes),
    )


def _read_sharded(path: Path, memory_bytes: int | None) -> KerasFile:
    names = {name for names in shards_of(path).values() for name in names}

    if len(names) > MAX_SHARDS:
        raise InvalidModel(f"{path.name} has more than {MAX_SHARDS:,} shards.")

    architecture = _architecture(path)
    config = _parsed(architecture)
    shards = [_screened(path / name, memory_bytes) for name in sorted(names)]
    declared = sum(each.declared_bytes for each in shards)

    if memory_bytes is not None and declared > memory_bytes:
        raise InvalidModel(
            f"{path.name} declares {declared:,} bytes of weights; a model may need "
            f"{memory_bytes:,}. Raise the memory budget to serve it."
        )

    return KerasFile(
        path=path,
        container=".h5",
        version=checked_version(architecture_version(config), architecture.name),
        config=untrained(config),
        stored=Stored(
            values=sum(each.values for each in shards),
            declared_bytes=declared,
            quantized=any(each.quantized for each in shards),
        ),
        weights_only=True,
    )


def _architecture(path: Path) -> Path:
    found = shard_map(path)
    base = base_of(found) if found else "model"
    places = (path / f"{base}.json", path / CONFIG)
    architecture = next((place for place in places if place.is_file()), None)

    if architecture is None:
        raise InvalidModel(
            f"{path.name} holds only weights, in shards, and no architecture. Put it "
            f"beside them as {base}.json (the text of model.to_json()), or save the "
            "whole model with model.save('name.keras')."
        )

    return architecture


def _parsed(path: Path) -> Config:
    where = f"{path.parent.name}/{path.name}"

    if not path.is_file():
        raise InvalidModel(
            f"{where} isn't there: a model saved with zipped=False has {METADATA}, "
            f"{CONFIG} and {WEIGHTS}. Copy or save it again."
        )

    with path.open("rb") as file:
        return parse_config(file.read(MAX_TEXT_BYTES + 1), where)


def _screened(path: Path, memory_bytes: int | None) -> Stored:
    where = f"{path.parent.name}/{path.name}"

    try:
        with h5py.File(path, "r") as file:
            return screen_hdf5(file, where, memory_bytes)
    except (OSError, RuntimeError) as exc:
        raise InvalidModel(
            f"{where} is a damaged or truncated HDF5 file: {first_line(exc)}. Copy or "
            "save it again."
        ) from exc


def _check_assets(path: Path, memory_bytes: int | None) -> None:
    found = assets_of(path)
    nbytes = sum(each.stat().st_size for each in found)

    if len(found) > MAX_MEMBERS or nbytes > (memory_bytes or nbytes):
        raise InvalidModel(
            f"{path.name} has {len(found):,} assets of {nbytes:,} bytes; a model may "
            f"have {MAX_MEMBERS:,}, and need {memory_bytes or nbytes:,} bytes."
        )


def assets_of(path: Path) -> list[Path]:
    """Return the asset files, which are all vocabularies."""
    return sorted(each for each in (path / ASSETS).rglob("*") if each.is_file())
