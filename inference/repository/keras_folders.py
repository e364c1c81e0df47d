"""Detection of folders that Keras 3 writes a model into, by their file names."""

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
    """Return the JSON map of weights to shards, if no other model is there."""
    maps = sorted(folder.glob(f"*{MAP}"))
    found = next((each for each in maps if shard(base_of(each), each).is_file()), None)
    return found if found and _is_alone(found) else None


def base_of(path: Path) -> str:
    """Return the common stem of a map and its shards; empty for other files."""
    match = _SHARD.fullmatch(path.name)
    return match["base"] if match else path.name.removesuffix(MAP)


def is_shard(path: Path) -> bool:
    return bool(_SHARD.fullmatch(path.name))


def map_of(path: Path) -> Path:
    """Return the path of a shard's map."""
    return path.with_name(f"{base_of(path)}{MAP}")


def shard(base: str, beside: Path) -> Path:
    """Return the path of the first shard."""
    return beside.with_name(f"{base}_00000.weights.h5")


def _is_alone(found: Path) -> bool:
    others = [each for each in found.parent.iterdir() if not each.name.startswith(".")]
    return not any(
        each.is_dir() or (each.suffix.lower() in _MODELS and map_of(each) != found)
        for each in others
    )
