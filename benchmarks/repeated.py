"""Weights that a model has more than once, or several versions have in common: what
they take on disk and in memory, over what they would if each was there once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import loads, models
from benchmarks.children import child
from benchmarks.report import at_most, print_table
from inference.artifacts.artifact import Artifact
from inference.artifacts.weight_files import file_lengths

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.report import Target

MB = 1e6
WIDE = 2000
"""Of a backbone that two versions share: 16 MB."""

SQUARE = 512
"""Of the one matrix, of 1 MiB, that four signatures read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """Model files, the bytes of their distinct weights, and how often each is used."""

    paths: dict[str, Path]
    distinct: int
    times: int


def write_repeated(folder: Path) -> dict[str, Repeated]:
    """By what they are. Imports Keras: to be called in a child process."""
    exported = models.export_mobilenet(folder / "exported")
    return {
        "MobileNetV2, as Keras 3 exports it": Repeated(
            paths={"exported": folder / "exported"}, distinct=exported, times=2
        ),
        "four signatures over 1 MiB": Repeated(
            paths={"four": _write_four(folder / "four")},
            distinct=SQUARE * SQUARE * 4,
            times=4,
        ),
        "two versions of one backbone": _write_versions(folder),
    }


def measure(scratch: Path) -> list[Target]:
    """A row and two targets for each."""
    with child() as writer:
        found = writer.call(write_repeated, scratch)

    rows: list[tuple[str, ...]] = []
    targets: list[Target] = []

    for name, each in found.items():
        cache = scratch / f"cache-{len(rows)}"
        folders = list(models.compile_models(each.paths, cache).values())
        disk, memory = _disk_bytes(cache), _mapped_bytes(folders)
        figures = (each.distinct, each.times * each.distinct, disk, memory)
        rows.append((name, *(f"{figure / MB:.2f}" for figure in figures)))
        targets += [
            at_most(1.02, f"{name}, bytes on disk over distinct", disk / each.distinct),
            at_most(1.02, f"{name}, mapped over distinct", memory / each.distinct),
        ]

    columns = ("weights that repeat, MB", "distinct", "each use", "on disk", "mapped")
    print_table("Weights are stored once", columns, rows)
    return targets


def _disk_bytes(folder: Path) -> int:
    """All files, graphs too; one with several links once."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum({each.st_ino: each.st_size for each in found}.values())


def _mapped_bytes(folders: list[Path]) -> int:
    """The weights' share of a process that has loaded and asked all."""
    with child() as process:
        process.call(loads.prepare, "inference.runtime.servable")

        for folder in folders:
            process.call(loads.load_servable, folder)

        files = {path for folder in folders for path in _weight_files(folder)}
        return process.call(loads.mapped_files, sorted(files)).proportional


def _weight_files(folder: Path) -> list[Path]:
    weights = Artifact(folder).read_manifest().weights
    return [folder / name for name in file_lengths(weights)]


def _write_four(path: Path) -> Path:
    import tensorflow as tf

    module: Any = tf.Module()
    module.matrix = tf.Variable(models.rows_for((SQUARE,), SQUARE))
    spec = tf.TensorSpec([None, SQUARE], tf.float32, name="values")
    module.functions = [
        tf.function(lambda x, n=number: {"y": x @ module.matrix + n})
        for number in range(4)
    ]
    names = ("serving_default", "one", "two", "three")
    signatures = {
        name: function.get_concrete_function(spec)
        for name, function in zip(names, module.functions, strict=True)
    }
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


def _write_versions(folder: Path) -> Repeated:
    import keras

    keras.utils.set_random_seed(models.SEED)
    backbone = keras.layers.Dense(WIDE, activation="relu")
    paths, distinct = {}, 0

    for number in range(2):
        given = keras.Input((WIDE,), name="values")
        model = keras.Model(given, keras.layers.Dense(4)(backbone(given)))
        paths[f"version {number}"] = folder / f"{number}.keras"
        model.save(paths[f"version {number}"])
        distinct += sum(int(np.prod(each.shape)) * 4 for each in model.weights)

    shared = (WIDE * WIDE + WIDE) * 4
    return Repeated(paths=paths, distinct=distinct - shared, times=2)
