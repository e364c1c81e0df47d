"""Folders that Keras 3 writes a model into, told by the names in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# keras/src/saving/saving_lib.py, `_save_model_to_dir` and `ShardedH5IOStore`.
CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
MAP = ".weights.json"
_SHARD = re.compile(r"(?P<base>.*)_[0-9]{5}\.weights\.h5", re.DOTALL)
_MODELS = {".graphdef", ".h5", ".hdf5", ".keras", ".pb"}


def is_keras_folder(folder: Path) -> bool:
    """Return whether Keras 3 wrote it: with `zipped=False`, or weights in shards."""
    return is_whole(folder) or shard_map(folder) is not None


def is_whole(folder: Path) -> bool:
    """Return whether it has an architecture with its weights."""
    return all((folder / name).is_file() for name in (CONFIG, WEIGHTS))


def shard_map(folder: Path) -> Path | None:
    """The JSON that says which shard has which weights, if no other model is there."""
    maps = sorted(folder.glob(f"*{MAP}"))
    found = next((each for each in maps if shard(base_of(each), each).is_file()), None)
    return found if found and _is_alone(found) else None


def base_of(path: Path) -> str:
    """Return what a map and its shards have in common; empty for what is neither."""
    match = _SHARD.fullmatch(path.name)
    return match["base"] if match else path.name.removesuffix(MAP)


def is_shard(path: Path) -> bool:
    return bool(_SHARD.fullmatch(path.name))


def map_of(path: Path) -> Path:
    """Where the map of a shard lies."""
    return path.with_name(f"{base_of(path)}{MAP}")


def shard(base: str, beside: Path) -> Path:
    """Where the first shard lies."""
    return beside.with_name(f"{base}_00000.weights.h5")


def _is_alone(found: Path) -> bool:
    others = [each for each in found.parent.iterdir() if not each.name.startswith(".")]
    return not any(
        each.is_dir() or (each.suffix.lower() in _MODELS and map_of(each) != found)
        for each in others
    )
