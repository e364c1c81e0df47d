"""Every dtype of TensorFlow: answered correctly, or refused with the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from inference.dtypes import WIDENED
from inference.errors import InputMismatch, InvalidModel, InvalidRequest
from inference.inputs.binding import bind
from inference.inputs.nested_lists import LEAVES
from inference.runtime.servable import Servable
from service.codecs.json import arrays
from tests.support.graphs import compile_path

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = "[[1.0,0.0]]"
INTEGERS = "[[1,0]]"

SERVED = {
    "bfloat16": NUMBERS,
    "bool": "[[true,false]]",
    "float16": NUMBERS,
    "float32": NUMBERS,
    "float64": NUMBERS,
    "int16": INTEGERS,
    "int32": INTEGERS,
    "int64": INTEGERS,
    "int8": INTEGERS,
    "string": '[["1","0"]]',
    "uint16": INTEGERS,
    "uint32": INTEGERS,
    "uint64": INTEGERS,
    "uint8": INTEGERS,
}
"""Dtypes of inputs and outputs."""

ANSWERED = {
    "float4_e2m1fn": NUMBERS,
    "float8_e4m3b11fnuz": NUMBERS,
    "float8_e4m3fn": NUMBERS,
    "float8_e4m3fnuz": NUMBERS,
    "float8_e5m2": NUMBERS,
    "float8_e5m2fnuz": NUMBERS,
    "int2": INTEGERS,
    "int4": INTEGERS,
    "uint2": INTEGERS,
    "uint4": INTEGERS,
}
"""Dtypes of outputs only, as the nearest type with numbers in JSON."""

BINARY = {"complex128", "complex64"}
"""Dtypes without a form in JSON: a 400 that says so."""

REFUSED = {
    "qint16",
    "qint32",
    "qint8",
    "quint16",
    "quint8",
    "resource",
    "variant",
}


def known() -> set[str]:
    names = {}

    for name, number in types_pb2.DataType.items():
        if number and number < 100:
            names[number] = name.removeprefix("DT_").lower()

    spelled = {"float": "float32", "double": "float64", "half": "float16"}
    return {spelled.get(name, name) for name in names.values()}


def test_every_dtype_of_tensorflow_has_a_row() -> None:
    assert SERVED.keys() | ANSWERED.keys() | BINARY | REFUSED == known()
    assert SERVED.keys() == LEAVES.keys()
    assert ANSWERED.keys() <= WIDENED.keys()


def frozen(path: Path, dtype: Any) -> Path:
    """Write a graph that returns its input."""
    with tf.Graph().as_default() as graph:
        inputs = tf.compat.v1.placeholder(dtype, [None, 2], "x")
        tf.identity(inputs, "y")

    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def compiled(path: Path, folder: Path) -> Servable:
    return Servable(compile_path(path, folder / "artifact"))


def sent(dtype: str) -> list[list[Any]]:
    if dtype == "string":
        return [["1", "0"]]

    return [[True, False]] if dtype == "bool" else [[1, 0]]


@pytest.mark.parametrize("name", SERVED)
def test_values_round_trip(tmp_path: Path, name: str) -> None:
    path = frozen(tmp_path / "model.pb", tf.dtypes.as_dtype(name))

    with compiled(path, tmp_path) as servable:
        signature = servable.signatures["serving_default"]
        inputs = bind(signature, {"x": sent(name)})
        answers = servable.run("serving_default", inputs)

    assert arrays.text("y", answers["y"]).decode() == SERVED[name]


@pytest.mark.parametrize("name", ANSWERED)
def test_dtypes_that_numpy_lacks_are_written_from_a_wider_one(name: str) -> None:
    array = np.array([[1, 0]]).astype(getattr(ml_dtypes, name))

    assert arrays.text("y", array).decode() == ANSWERED[name]


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fn", "int4"])
def test_graphs_with_these_outputs_are_answered(tmp_path: Path, name: str) -> None:
    with tf.Graph().as_default() as graph:
        inputs = tf.compat.v1.placeholder(tf.float32, [None, 2], "x")
        whole = tf.cast(inputs, tf.int8) if name == "int4" else inputs
        tf.cast(whole, tf.dtypes.as_dtype(name), name="y")

    path = tmp_path / "model.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())

    with compiled(path, tmp_path) as servable:
        answers = servable.run("serving_default", {"x": np.ones((1, 2), "float32")})

    written = arrays.text("y", answers["y"]).decode()
    assert written in ("[[1.0,1.0]]", "[[1,1]]")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_unsendable_inputs_are_refused_at_compilation(
    tmp_path: Path, name: str
) -> None:
    path = frozen(tmp_path / "model.pb", tf.dtypes.as_dtype(name))

    with pytest.raises(InvalidModel, match="nothing to serve"):
        compiled(path, tmp_path)


@pytest.mark.parametrize("name", sorted(BINARY))
def test_outputs_without_a_json_form_are_refused_at_the_call(
    tmp_path: Path, name: str
) -> None:
    path = frozen(tmp_path / "model.pb", tf.dtypes.as_dtype(name))
    inputs = {"x": np.ones((1, 2), name)}

    with compiled(path, tmp_path) as servable:
        answers = servable.run("serving_default", inputs)

        with pytest.raises(InputMismatch, match=f"is of dtype {name}, which can't be"):
            bind(servable.signatures["serving_default"], {"x": [[1.0, 2.0]]})

    with pytest.raises(InvalidRequest, match=rf"tensor type: {name} \(output 'y'\)"):
        arrays.text("y", answers["y"])
