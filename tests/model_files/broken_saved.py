"""SavedModel folders that can't be served."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

if TYPE_CHECKING:
    from pathlib import Path


def half_plus_two(folder: Path, *, signatures: bool = True) -> Path:
    path, module = folder / "model", tf.Module()
    module.half = tf.Variable(0.5)
    module.call = tf.function(lambda x: {"y": x * module.half + 2.0})
    call = module.call.get_concrete_function(tf.TensorSpec([None], name="x"))
    tf.saved_model.save(module, str(path), signatures=call if signatures else None)
    return path


def saved_without_signatures(folder: Path) -> Path:
    return half_plus_two(folder, signatures=False)


def saved_without_variables(folder: Path) -> Path:
    path = half_plus_two(folder)
    shutil.rmtree(path / "variables")
    return path


def saved_without_variable_data(folder: Path) -> Path:
    path = half_plus_two(folder)
    for file in (path / "variables").glob("*.data-*"):
        file.unlink()

    return path


def saved_garbage(folder: Path) -> Path:
    path = half_plus_two(folder)
    (path / "saved_model.pb").write_bytes(random.Random(4).randbytes(4096))
    return path


def saved_cut(folder: Path) -> Path:
    path = half_plus_two(folder)
    data = (path / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(data[: len(data) // 2])
    return path


def saved_empty(folder: Path) -> Path:
    path = half_plus_two(folder)
    (path / "saved_model.pb").write_bytes(b"")
    return path


def saved_without_serve_tag(folder: Path) -> Path:
    path = half_plus_two(folder)
    model = parsed(path)
    model.meta_graphs[0].meta_info_def.tags[:] = ["train"]
    (path / "saved_model.pb").write_bytes(model.SerializeToString())
    return path


def sidecar_constants_of_a_saved_model(folder: Path) -> Path:
    """Set constants, which have no use here and mustn't be ignored."""
    path = half_plus_two(folder)
    (path / "model.toml").write_text("[constants]\nx = 1.0\n")
    return path


def saved_as_text(folder: Path) -> Path:
    """Write `saved_model.pbtxt` and no `saved_model.pb`."""
    path = half_plus_two(folder)
    (path / "saved_model.pbtxt").write_text(str(parsed(path)))
    (path / "saved_model.pb").unlink()
    return path


def parsed(path: Path) -> saved_model_pb2.SavedModel:
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    return model


def folder_of_nothing(folder: Path) -> Path:
    (folder / "model").mkdir()
    (folder / "model" / "notes.txt").write_text("the model goes here")
    return folder / "model"
