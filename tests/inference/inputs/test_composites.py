"""Ragged and sparse tensors in SavedModels: parts as inputs, wholes as outputs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from inference import by_whole, put_together, show_shape, whole_shape
from inference.backend import tf, tf1
from inference.errors import InputMismatch, InvalidRequest
from inference.inputs.binding import bind
from inference.runtime.servable import Servable
from service.codecs.tfserving.request import decode
from service.codecs.tfserving.response import encode
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


TEXTS = ["a b", "", "one two three"]
DEEP = [[[1.0], [2.0, 3.0]], [], [[4.0, 5.0, 6.0]]]


def of_ragged(rank: int, *inner: int, dtype: str = "float32") -> Any:
    """A ragged tensor of `rank` open dimensions, and `inner` fixed ones."""
    return tf.RaggedTensorSpec([None] * (rank + 1) + [*inner], dtype, ragged_rank=rank)


def functions(gain: Any) -> dict[str, Any]:
    text = [tf.TensorSpec([None], tf.string, name="text")]

    def rows(x: Any) -> Any:
        return {"pairs": x, "lengths": x.row_lengths(), "all": tf.expand_dims(x, 0)}

    def sparse(sp: Any) -> Any:
        return {"sums": tf.sparse.reduce_sum(sp, 1) * gain, "twice": sp * 2.0}

    def mixed(plain: Any, pair: Any, flag: Any = None) -> Any:
        return {"y": plain + tf.reduce_sum(pair["x"]) + tf.sparse.reduce_sum(pair["s"])}

    pair = {"x": of_ragged(1), "s": tf.SparseTensorSpec([None])}

    return {
        "mixed": tf.function(mixed, [tf.TensorSpec([None], name="plain"), pair]),
        "serving_default": tf.function(lambda text: tf.strings.split(text), text),
        "both": tf.function(
            lambda text: {
                "words": tf.strings.split(text),
                "n": tf.strings.length(text),
            },
            text,
        ),
        "bytes": tf.function(
            lambda text: {"word_bytes": tf.strings.bytes_split(text)}, text
        ),
        "rows": tf.function(rows, [of_ragged(1, 2, dtype="int32")]),
        "deep": tf.function(lambda x: {"deep": x * gain}, [of_ragged(2)]),
        "sparse": tf.function(sparse, [tf.SparseTensorSpec([None, 4])]),
    }


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    root, module = tmp_path_factory.mktemp("composites"), tf.Module()
    module.gain = tf.Variable(2.0)
    module.functions = functions(module.gain)
    tf.saved_model.save(module, str(root / "m"), signatures=module.functions)

    with Servable(compile_path(root / "m", root / "artifact")) as servable:
        yield servable


def ask(servable: Servable, **body: Any) -> Any:
    """Return the answer to `body`, as a client gets it."""
    call = decode(json.dumps(body).encode())
    name = call.signature or servable.manifest.default_signature
    signature = servable.signatures[name]
    outputs = servable.run(name, bind(signature, call.inputs))
    whole = put_together(signature, outputs)
    answer = json.loads(encode(whole, call.form))
    ((_, value),) = answer.items()
    return value


DOUBLED = {"indices": [[0, 1], [1, 3]], "values": [2.0, 10.0], "shape": [2, 4]}
WORDS = [["a", "b"], [], ["one", "two", "three"]]


def test_a_ragged_output_is_nested_lists(servable: Servable) -> None:
    assert ask(servable, inputs=TEXTS) == WORDS
    assert ask(servable, inputs=["c"]) == [["c"]]


def test_ragged_output_beside_a_plain_one_is_in_rows(servable: Servable) -> None:
    columns = ask(servable, signature_name="both", inputs=TEXTS)
    rows = ask(servable, signature_name="both", instances=TEXTS)

    assert columns == {"n": [3, 0, 13], "words": WORDS}
    assert rows == [
        {"n": count, "words": words}
        for count, words in zip([3, 0, 13], WORDS, strict=True)
    ]


def test_ragged_output_alone_is_refused_in_row_form(servable: Servable) -> None:
    with pytest.raises(InvalidRequest, match="output_0 is ragged.*columnar form"):
        ask(servable, instances=TEXTS)


def test_bytes_output_is_base64(servable: Servable) -> None:
    answer = ask(servable, signature_name="bytes", inputs=["ab", ""])

    assert answer == [[{"b64": "YQ=="}, {"b64": "Yg=="}], []]


def test_rows_may_be_ragged_in_several_dimensions(servable: Servable) -> None:
    inputs = {"x": [1, 2, 3, 4, 5, 6], "x_1": [0, 2, 2, 3], "x_2": [0, 1, 3, 6]}

    answer = ask(servable, signature_name="deep", inputs=inputs)

    assert answer == [[[2.0], [4.0, 6.0]], [], [[8.0, 10.0, 12.0]]]
    assert answer == (tf.ragged.constant(DEEP) * 2.0).to_list()


def test_the_innermost_rows_may_be_regular(servable: Servable) -> None:
    inputs = {"x": [[1, 2], [3, 4], [5, 6]], "x_1": [0, 2, 2, 3]}

    answer = ask(servable, signature_name="rows", inputs=inputs)

    pairs = [[[1, 2], [3, 4]], [], [[5, 6]]]
    assert answer == {"pairs": pairs, "lengths": [2, 0, 1], "all": [pairs]}


def test_a_sparse_input_and_output_are_parts(servable: Servable) -> None:
    inputs = {"sp": [[0, 1], [1, 3]], "sp_1": [1.0, 5.0], "sp_2": [2, 4]}

    answer = ask(servable, signature_name="sparse", inputs=inputs)

    assert answer == {"sums": [2.0, 10.0], "twice": DOUBLED}


def test_metadata_names_the_part_of_each_input(servable: Servable) -> None:
    found = {
        name: {
            each: f"{spec.part.role} of {spec.part.kind} {spec.part.of}"
            for each, spec in signature.inputs.items()
            if spec.part
        }
        for name, signature in servable.signatures.items()
    }

    assert found == {
        "serving_default": {},
        "both": {},
        "bytes": {},
        "mixed": {
            "pair": "indices of sparse pair",
            "pair_1": "values of sparse pair",
            "pair_2": "shape of sparse pair",
            "pair_3": "values of ragged pair_3",
            "pair_4": "row_splits of ragged pair_3",
        },
        "rows": {"x": "values of ragged x", "x_1": "row_splits of ragged x"},
        "deep": {
            "x": "values of ragged x",
            "x_1": "row_splits of ragged x",
            "x_2": "row_splits_1 of ragged x",
        },
        "sparse": {
            "sp": "indices of sparse sp",
            "sp_1": "values of sparse sp",
            "sp_2": "shape of sparse sp",
        },
    }


@pytest.mark.parametrize(
    "splits", [[0, 1], [0, 3], [1, 2], [0, 2, 1, 2], [], [0, -1, 2]]
)
def test_mismatched_row_splits_are_refused(
    servable: Servable, splits: list[int]
) -> None:
    """TensorFlow takes them, and would drop or repeat rows."""
    inputs = {"x": [[1, 2], [3, 4]], "x_1": splits}

    with pytest.raises(InputMismatch, match="'x_1' don't fit the ragged input 'x'"):
        ask(servable, signature_name="rows", inputs=inputs)


@pytest.mark.parametrize(
    ("signature", "shapes"),
    [
        ("serving_default", {"output_0": "[?, ?]"}),
        ("rows", {"all": "[1, ?, ?, 2]", "lengths": "[?]", "pairs": "[?, ?, 2]"}),
        ("deep", {"deep": "[?, ?, ?]"}),
        ("sparse", {"sums": "[...]", "twice": "[?, ?]"}),
    ],
)
def test_whole_shape_of_parts(
    servable: Servable, signature: str, shapes: dict[str, str]
) -> None:
    wholes = by_whole(servable.signatures[signature].outputs)

    assert {k: show_shape(whole_shape(v)) for k, v in wholes.items()} == shapes


def test_samples_have_fitting_parts(servable: Servable) -> None:
    """So the graph is optimized, compared, and warmed up."""
    assert servable.manifest.optimization == "full"
    assert not [each for each in servable.signatures.values() if each.sample is None]
    servable.warm_up()


def test_rows_are_never_joined(servable: Servable) -> None:
    assert not any(each.batchable for each in servable.signatures.values())
    assert servable.signatures["both"].batchable_reason == "'words' is ragged"


def test_only_requested_outputs_are_put_together(
    servable: Servable,
) -> None:
    signature = servable.signatures["both"]
    outputs = servable.run("both", {"text": np.array([b"a"], object)}, ["n"])

    assert list(put_together(signature, outputs)) == ["n"]


def sparse_in(folder: Path) -> Path:
    """Write a TensorFlow 1 signature with one name for a sparse tensor."""
    with tf.Graph().as_default(), tf1.Session() as session:
        sp = tf1.sparse_placeholder(tf.float32, [None, 4], "sp")
        ids = tf1.sparse_placeholder(tf.string, name="ids")
        gain = tf1.get_variable("gain", initializer=2.0)
        sums = tf1.identity(tf1.sparse_reduce_sum(sp, 1) * gain, "y")
        joined = tf.sparse.to_dense(ids, "-")
        session.run(tf1.global_variables_initializer())
        builder = tf1.saved_model.Builder(str(folder))
        inputs = {"sp": sp, "ids": ids}
        outputs = {"y": sums, "doubled": sp * 2.0, "ids": joined}
        signature = tf1.saved_model.predict_signature_def(inputs, outputs)
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}
        )
        builder.save()

    return folder


def test_a_sparse_tensor_of_one_name_is_served_by_its_parts(tmp_path: Path) -> None:
    inputs: dict[str, Any] = {
        "sp/indices": [[0, 1], [1, 3]],
        "sp/values": [1.0, 5.0],
        "sp/shape": [2, 4],
        "ids/indices": [[0]],
        "ids/values": ["x"],
        "ids/shape": [2],
    }
    path = sparse_in(tmp_path / "m")

    with Servable(compile_path(path, tmp_path / "artifact")) as servable:
        answer = ask(servable, inputs=inputs)

        with pytest.raises(InputMismatch, match="values of the sparse tensor 'sp'"):
            ask(servable, inputs={})

    assert answer == {
        "doubled": DOUBLED,
        "ids": ["x", "-"],
        "y": [2.0, 10.0],
    }
