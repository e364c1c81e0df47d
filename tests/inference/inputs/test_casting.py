from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.errors import InputMismatch
from inference.inputs.casting import cast_inputs
from inference.types import UNNAMED, Signature, TensorSpec


def signature(dtype: str) -> Signature:
    spec = TensorSpec(name="x", tensor="x:0", dtype=dtype, shape=(None,))
    return Signature(name="serving_default", inputs={"x": spec}, outputs={})


@pytest.mark.parametrize("name", ["x", UNNAMED])
@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        pytest.param("float64", "float32", id="shorter floats"),
        pytest.param("float16", "float32", id="longer floats"),
        pytest.param("int64", "float32", id="whole numbers as floats"),
        pytest.param("int64", "int32", id="shorter whole numbers"),
        pytest.param("int64", "uint8", id="without a sign"),
    ],
)
def test_numbers_that_fit_are_cast(name: str, given: str, wanted: str) -> None:
    array = np.array([0, 1, 200], given)

    cast = cast_inputs(signature(wanted), {name: array})[name]

    assert cast.dtype == wanted
    assert cast.tolist() == array.tolist()


@pytest.mark.parametrize(
    ("array", "wanted"),
    [
        pytest.param(np.array([300]), "uint8", id="too large"),
        pytest.param(np.array([-1]), "uint8", id="below zero"),
        pytest.param(np.array([1e300]), "float32", id="too large a float"),
        pytest.param(np.array([1e30]), "float16", id="too large for a half"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(array: Any, wanted: str) -> None:
    with pytest.raises(InputMismatch, match=f"'x' wants {wanted}"):
        cast_inputs(signature(wanted), {"x": array})


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        pytest.param(np.array([1.0]), "int32", id="floats as whole numbers"),
        pytest.param(np.array([1]), "bool", id="numbers as truth values"),
        pytest.param(np.array([True]), "float32", id="truth values as numbers"),
        pytest.param(np.array([1]), "string", id="numbers as texts"),
        pytest.param([1], "float32", id="lists"),
    ],
)
def test_the_rest_is_left_to_binding(value: Any, dtype: str) -> None:
    assert cast_inputs(signature(dtype), {"x": value})["x"] is value


def test_infinity_and_nan_are_numbers() -> None:
    array = np.array([np.inf, -np.inf, np.nan])

    cast = cast_inputs(signature("float32"), {"x": array})["x"]

    np.testing.assert_array_equal(cast, array.astype(np.float32))
