"""Tables that a call changes are refused, except those that it makes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from inference.errors import InvalidModel
from inference.runtime.servable import Servable
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from pathlib import Path


def test_table_filled_by_requests_is_refused(tmp_path: Path) -> None:
    module = tf.Module()
    module.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)

    def seen(words: Any) -> dict[str, Any]:
        found = module.table.lookup(words)
        module.table.insert(words, tf.ones(tf.shape(words), tf.int64))
        return {"seen": found}

    words = tf.TensorSpec([None], tf.string, name="words")
    module.seen = tf.function(seen, input_signature=[words])
    tf.saved_model.save(module, tmp_path / "model", signatures=module.seen)

    with pytest.raises(InvalidModel, match="LookupTableInsertV2.*each other's data"):
        compile_path(tmp_path / "model", tmp_path / "artifact")


def test_table_made_by_the_call_may_be_filled(tmp_path: Path) -> None:
    def seen(words: Any) -> dict[str, Any]:
        table = tf.raw_ops.AnonymousMutableHashTable(
            key_dtype=tf.string, value_dtype=tf.int64
        )
        ones = tf.ones(tf.shape(words), tf.int64)
        filled = tf.raw_ops.LookupTableInsertV2(
            table_handle=table, keys=words, values=ones
        )

        with tf.control_dependencies([filled]):
            found = tf.raw_ops.LookupTableFindV2(
                table_handle=table, keys=words, default_value=tf.constant(-1, tf.int64)
            )

        return {"seen": found}

    module = tf.Module()
    words = tf.TensorSpec([None], tf.string, name="words")
    module.seen = tf.function(seen, input_signature=[words])
    tf.saved_model.save(module, tmp_path / "model", signatures=module.seen)
    artifact = compile_path(tmp_path / "model", tmp_path / "artifact")

    with Servable(artifact) as served:
        answer = served.run("serving_default", {"words": np.array([b"a"], object)})

    assert answer["seen"].tolist() == [1]
