"""Tensors of rank 0, of every dtype that clients send, in and out of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from inference.backend import tf, tf1
from inference.inputs.binding import bind
from inference.runtime.servable import Servable
from tests.support.graphs import compile_graph, source_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DTYPES = ("bool", "uint8", "int32", "int64", "float16", "bfloat16", "float64", "string")
PICTURE = b"\x89PNG\r\n\x1a\n\x00\x00"


def passed_on() -> None:
    """Write a graph with a scalar of each dtype, and strings from and to numbers."""
    for dtype in DTYPES:
        given = tf1.placeholder(dtype, [], name=f"in_{dtype}")
        tf.identity(given, name=f"out_{dtype}")

    text = tf1.get_default_graph().get_tensor_by_name("in_string:0")
    tf.strings.length(text, name="length")
    tf.strings.join([text, "\0"], name="ended_by_zero")
    tf.strings.as_string(tf.strings.length(text), name="length_as_text")


@pytest.fixture(scope="module")
def servable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servable]:
    artifact = compile_graph(tmp_path_factory.mktemp("scalars"), passed_on)
    with Servable(artifact) as servable:
        yield servable


SENT: dict[str, Any] = {
    "in_bool": True,
    "in_uint8": 255,
    "in_int32": -7,
    "in_int64": 2**62,
    "in_float16": 0.5,
    "in_bfloat16": 1.5,
    "in_float64": 0.1,
    "in_string": PICTURE,
}


@pytest.fixture(scope="module")
def answer(servable: Servable) -> dict[str, Any]:
    signature = servable.signatures["serving_default"]
    return servable.run("serving_default", bind(signature, SENT))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_scalar_comes_back_as_an_array_of_rank_0(
    answer: dict[str, Any], dtype: str
) -> None:
    wanted = {"string": object, "bfloat16": ml_dtypes.bfloat16}.get(dtype, dtype)
    value = answer[f"out_{dtype}"]

    assert isinstance(value, np.ndarray)
    assert (value.shape, value.dtype) == ((), np.dtype(wanted))
    assert value.item() == SENT[f"in_{dtype}"]


def test_scalar_strings_convert_from_and_to_numbers(
    answer: dict[str, Any],
) -> None:
    assert answer["length"].item() == len(PICTURE)
    assert answer["length_as_text"].item() == str(len(PICTURE)).encode()


def test_string_keeps_trailing_zero_bytes(
    answer: dict[str, Any], tmp_path: Path
) -> None:
    assert answer["out_string"].item() == PICTURE
    assert answer["ended_by_zero"].item() == PICTURE + b"\0"

    with source_of(tmp_path, passed_on) as source:
        signature = source.signatures["serving_default"]
        answer = source.reference(signature, bind(signature, SENT))

    assert answer["ended_by_zero"].item() == PICTURE + b"\0"


def test_the_optimised_graph_was_compared_with_the_source(servable: Servable) -> None:
    assert servable.manifest.optimization == "full"
    assert servable.signatures["serving_default"].sample is not None
