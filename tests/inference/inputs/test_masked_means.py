"""The commonest small text model: ids of 0 and 1 alone have equal means.

An embedding with its mask, averaged, and a dense layer: written by both Kerases, in
each format, and frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import pytest
import tf_keras
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from inference.backend import tf
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from pathlib import Path


def masked_mean(api: Any, dtype: str | None) -> Any:
    taken = api.Input((None,), dtype=dtype)
    vectors = api.layers.Embedding(500, 8, mask_zero=True)(taken)
    mean = api.layers.GlobalAveragePooling1D()(vectors)
    return api.Model(taken, api.layers.Dense(3)(mean))


def saved(folder: Path, api: Any, form: str, dtype: str | None) -> Path:
    model = masked_mean(api, dtype)
    path = folder / f"model{form}"

    if form == ".pb":
        return frozen(path, model, dtype)

    if form == "":
        model.export(str(path))
    else:
        model.save(path)

    return path


def frozen(path: Path, model: Any, dtype: str | None) -> Path:
    wanted = tf.TensorSpec([None, None], dtype or "float32", name="ids")
    traced = tf.function(model).get_concrete_function(wanted)
    graph = convert_variables_to_constants_v2(traced).graph
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


FORMS = (".h5", ".keras", ".pb", "")
MODELS = [
    *(pytest.param(keras, "int32", form, id=f"Keras 3 {form}") for form in FORMS),
    *(pytest.param(tf_keras, "int64", form, id=f"Keras 2 {form}") for form in FORMS),
    pytest.param(tf_keras, None, ".h5", id="ids as floats"),
]


@pytest.mark.filterwarnings(
    "ignore:You are saving your model as an HDF5 file",
    # Of Keras 3 while it saves.
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",
)
@pytest.mark.parametrize(("api", "dtype", "form"), MODELS)
def test_masked_mean_is_batchable(
    tmp_path: Path, api: Any, dtype: str | None, form: str
) -> None:
    path = saved(tmp_path, api, form, dtype)
    entries = compile_path(path, tmp_path / "made").read_manifest().signatures

    assert entries
    assert all(entry.batchable for entry in entries.values()), entries
