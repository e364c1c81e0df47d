from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path, rows, write_saved_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = np.array([b"\xff\x00", b"two", b"three"], object)
VALUES = np.array([10, 20, 30])


def reference_table() -> Any:
    """Build a table of TensorFlow 1, whose handle is a reference to a string."""
    table = tf.raw_ops.HashTable(
        key_dtype=tf.string, value_dtype=tf.int64, shared_name="/home/someone/words"
    )
    fill = tf.raw_ops.InitializeTable(table_handle=table, keys=KEYS, values=VALUES)
    tf.compat.v1.add_to_collection("table_initializer", fill)
    return table, tf.raw_ops.LookupTableFind


def static_table() -> Any:
    table = tf.raw_ops.HashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    fill = tf.raw_ops.InitializeTableV2(table_handle=table, keys=KEYS, values=VALUES)
    return filled(table, fill)


def mutable_table() -> Any:
    table = tf.raw_ops.MutableHashTableV2(key_dtype=tf.string, value_dtype=tf.int64)
    return imported(table)


def dense_table() -> Any:
    table = tf.raw_ops.MutableDenseHashTableV2(
        empty_key=b"", deleted_key=b"-", value_dtype=tf.int64, value_shape=[]
    )
    fill = tf.raw_ops.LookupTableInsertV2(table_handle=table, keys=KEYS, values=VALUES)
    return filled(table, fill)


def imported(table: Any) -> Any:
    fill = tf.raw_ops.LookupTableImportV2(table_handle=table, keys=KEYS, values=VALUES)
    return filled(table, fill)


def filled(table: Any, fill: Any) -> Any:
    tf.compat.v1.add_to_collection("table_initializer", fill)
    return table, tf.raw_ops.LookupTableFindV2


@pytest.mark.parametrize(
    "make", [reference_table, static_table, mutable_table, dense_table]
)
def test_artifact_has_keys_and_values(tmp_path: Path, make: Callable[[], Any]) -> None:
    def build() -> Any:
        words = rows("words", dtype="string")
        table, find = make()
        default = tf.constant(-1, tf.int64)
        ids = find(table_handle=table, keys=words, default_value=default)
        return {"words": words}, {"ids": tf.ensure_shape(ids, [None])}

    path = write_saved_model(tmp_path / "model", build)
    artifact = compile_path(path, tmp_path / "artifact")
    words = np.array([b"three", b"none", b"\xff\x00"], object)

    with Servable(artifact) as first, Servable(artifact) as second:
        answers = [
            each.run("serving_default", {"words": words})["ids"].tolist()
            for each in (first, second)
        ]

    assert answers == [[30, -1, 10], [30, -1, 10]]
    assert b"/home/someone" not in artifact.graph.read_bytes()
    assert artifact.read_manifest().signatures["serving_default"].batchable
