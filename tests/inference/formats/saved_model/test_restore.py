"""Restoring of a SavedModel, from its own files only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.errors import InvalidModel
from inference.formats.opening import open_source
from inference.repository.sidecar import Sidecar
from tests.crafted.saved_files import edited, modern, node
from tests.support.graphs import rows, write_saved_model

if TYPE_CHECKING:
    from pathlib import Path

    from inference.types import Array

WORDS = {"animals": ["cat", "dog", "emu"], "plants": ["oak", "fir"]}
SAID = np.array([b"dog", b"fir"], object)
FOUND = {"animals": [1, -1], "plants": [-1, 1]}


def table(folder: Path, name: str) -> Any:
    file = folder / f"{name}.txt"
    file.write_text("\n".join(WORDS[name]))
    whole, line = (
        tf.lookup.TextFileIndex.WHOLE_LINE,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )
    start = tf.lookup.TextFileInitializer(str(file), tf.string, whole, tf.int64, line)
    return tf.lookup.StaticHashTable(start, -1)


def two_tables_of_tf2(folder: Path) -> Path:
    module = tf.Module()
    module.tables = {name: table(folder, name) for name in WORDS}
    module.call = tf.function(
        lambda x: {name: each.lookup(x) for name, each in module.tables.items()}
    )
    call = module.call.get_concrete_function(tf.TensorSpec([None], "string", name="x"))
    tf.saved_model.save(module, str(folder / "model"), signatures=call)
    return folder / "model"


def two_tables_of_tf1(folder: Path) -> Path:
    with tf.Graph().as_default(), tf1.Session() as session:
        x = rows("x", dtype="string")
        outputs = {name: table(folder, name).lookup(x) for name in WORDS}
        session.run(tf1.tables_initializer())
        builder = tf1.saved_model.Builder(str(folder / "model"))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            signature_def_map={
                "serving_default": tf1.saved_model.predict_signature_def(
                    {"x": x}, outputs
                )
            },
            assets_collection=tf1.get_collection(tf1.GraphKeys.ASSET_FILEPATHS),
            main_op=tf1.tables_initializer(),
        )
        builder.save()

    return folder / "model"


@pytest.mark.parametrize("make", [two_tables_of_tf1, two_tables_of_tf2])
def test_each_table_is_filled_from_its_own_asset(tmp_path: Path, make: Any) -> None:
    path = make(tmp_path)

    for name in WORDS:
        (tmp_path / f"{name}.txt").unlink()

    assert answers(path) == FOUND


def answers(path: Path) -> dict[str, Array]:
    with open_source(path, Sidecar()) as source:
        signature = source.signatures["serving_default"]
        answer = source.reference(signature, {"x": SAID})
        return {name: value.tolist() for name, value in answer.items()}


def test_missing_asset_is_named(tmp_path: Path) -> None:
    path = two_tables_of_tf2(tmp_path)
    (path / "assets" / "plants.txt").unlink()

    with pytest.raises(InvalidModel, match=r"assets/ are missing.*plants\.txt"):
        open_source(path, Sidecar()).__enter__()


def test_table_with_two_assets_is_refused(tmp_path: Path) -> None:
    """Two files for one function: it is unclear which is meant."""

    def again(meta_graph: Any, canary: str) -> None:
        calls = [
            each
            for each in meta_graph.graph_def.node
            if "initializer" in each.attr["f"].func.name
        ]
        other = meta_graph.graph_def.node.add()
        other.CopyFrom(calls[0])
        other.name, other.input[0] = "again", "x_name"
        text = meta_graph.graph_def.node.add(name="x_name", op="Const")
        text.attr["dtype"].type = tf.string.as_datatype_enum
        text.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
        node(meta_graph, "NoOp").input.append("^again")

    path = edited(again, modern)(tmp_path, tmp_path / "canary")

    with pytest.raises(InvalidModel, match="not one of the model's assets"):
        open_source(path, Sidecar()).__enter__()


def test_only_the_models_own_checkpoint_is_restored(tmp_path: Path) -> None:
    """Even if the graph names another model's variables in a constant."""

    def build() -> tuple[dict[str, Any], dict[str, Any]]:
        gain = tf1.get_variable("gain", initializer=[value, value])
        x = rows("x", 2)
        return {"x": x}, {"y": tf.identity(x * gain, name="y")}

    value = 3.0
    own = write_saved_model(tmp_path / "own", build)
    value = 7.0
    other = write_saved_model(tmp_path / "other", build)

    def misled(meta_graph: Any, canary: str) -> None:
        theirs = meta_graph.graph_def.node.add(name="theirs", op="Const")
        theirs.attr["dtype"].type = tf.string.as_datatype_enum
        name = str(other / "variables" / "variables")
        theirs.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(name))
        restores = (n for n in meta_graph.graph_def.node if n.op == "RestoreV2")
        next(restores).input[0] = "theirs"

    path = edited(misled, lambda _: own)(tmp_path, tmp_path / "canary")

    with open_source(path, Sidecar()) as source:
        assert [each.tolist() for each in source.variables.values()] == [[3.0, 3.0]]
