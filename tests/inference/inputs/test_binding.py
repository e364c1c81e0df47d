from __future__ import annotations

import re
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from inference.errors import InputMismatch
from inference.inputs.binding import bind
from inference.types import UNNAMED
from tests.support.specs import signature, spec

OFF = np.array(False)
IMAGE = spec("image", shape=(None, 2))
SCALE = spec("scale", shape=())
TRAINING = spec("training", "bool", (), default=OFF)
ONE = signature(IMAGE, TRAINING)
TWO = signature(IMAGE, SCALE)


def test_values_become_arrays_in_the_order_of_the_signature() -> None:
    bound = bind(TWO, {"scale": 2, "image": [[1, 2]]})

    assert list(bound) == ["image", "scale"]
    assert bound["image"].tolist() == [[1.0, 2.0]]
    assert bound["image"].dtype == np.float32
    assert bound["scale"].shape == ()


def test_an_unnamed_value_goes_to_the_one_required_input() -> None:
    assert list(bind(ONE, {UNNAMED: [[1, 2]]})) == ["image"]


def test_an_unnamed_value_goes_to_the_only_input_even_if_optional() -> None:
    assert list(bind(signature(TRAINING), {UNNAMED: True})) == ["training"]


def test_optional_inputs_are_taken_when_sent_and_left_out_when_not() -> None:
    assert "training" not in bind(ONE, {"image": [[1, 2]]})
    assert bind(ONE, {"image": [[1, 2]], "training": True})["training"].item() is True


def test_zero_rows_are_allowed() -> None:
    assert bind(ONE, {"image": []})["image"].shape == (0, 2)


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.ones((3, 2), np.float32), id="array"),
        pytest.param(np.ones((2, 3), np.float32).T, id="a view"),
    ],
)
def test_arrays_of_the_right_dtype_pass(array: Any) -> None:
    assert bind(ONE, {"image": array})["image"] is array


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(np.array([b"a", b"b"], object), id="bytes objects"),
        pytest.param(np.array(["a", "b"], object), id="str objects"),
        pytest.param(np.array(["a", "b"]), id="U"),
        pytest.param(np.array([b"a", b"b"]), id="S"),
    ],
)
def test_string_arrays_become_objects_of_bytes(value: Any) -> None:
    bound = bind(signature(spec("s", "string", (None,))), {"s": value})["s"]

    assert bound.dtype == object
    assert bound.tolist() == [b"a", b"b"]


def test_bfloat16_arrays_pass() -> None:
    value = np.ones(2, ml_dtypes.bfloat16)

    assert bind(signature(spec("x", "bfloat16")), {"x": value})["x"] is value


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param(
            {UNNAMED: [1]},
            "signature 'serving_default' wants several inputs, so each value needs its"
            " name: 'image' (float32 [?, 2]), 'scale' (float32 []);"
            " for example, all rows at once,"
            ' {"image": [[0.5, ...], ...], "scale": 0.5}',
            id="unnamed, several",
        ),
        pytest.param({}, "missing inputs 'image', 'scale'", id="none"),
        pytest.param({"image": [[1, 2]]}, "missing input 'scale'", id="missing"),
        pytest.param(
            {"imgae": [[1, 2]], "scale": 1},
            "does not have named input: imgae, did you mean 'image'?"
            " it has 'image' (float32 [?, 2])",
            id="a typing error",
        ),
        pytest.param(
            {"qqq": 1}, "does not have named input: qqq; it has", id="unknown"
        ),
        pytest.param({UNNAMED: 1, "image": 1}, "named input: ", id="both"),
        pytest.param(
            {"image": [[1, 2, 3]], "scale": 1},
            "input 'image' wants shape [?, 2], got [1, 3]",
            id="shape",
        ),
        pytest.param(
            {"image": [1, 2], "scale": 1},
            "wants shape [?, 2], got [2]; the first dimension is missing: put the"
            " value into a list",
            id="no batch dimension",
        ),
        pytest.param(
            {"image": [[1, 2]], "scale": [1]},
            "input 'scale' wants shape [], got [1]; it is one value for the whole"
            " request, not one a row",
            id="list for scalar",
        ),
        pytest.param(
            {"image": np.ones((1, 2)), "scale": 1},
            "input 'image' wants float32, got float64",
            id="an array of another dtype",
        ),
        pytest.param(
            {"image": np.array([["a", "b"]]), "scale": 1},
            "input 'image' wants float32, got string",
            id="an array of strings",
        ),
        pytest.param(
            {"image": np.ones((2, 3), np.float32), "scale": 1},
            "got [2, 3]",
            id="an array of another shape",
        ),
    ],
)
def test_mismatches_are_refused(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputMismatch, match=re.escape(message)):
        bind(TWO, inputs)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(np.array([1, "a"], object), "wants strings", id="mixed objects"),
        pytest.param(np.array([1]), "wants string, got int64", id="numbers"),
    ],
)
def test_arrays_of_other_objects_are_refused(value: Any, message: str) -> None:
    with pytest.raises(InputMismatch, match=message):
        bind(signature(spec("s", "string")), {"s": value})


def test_signature_without_inputs_takes_none() -> None:
    assert bind(signature(), {}) == {}
    with pytest.raises(InputMismatch, match="takes no inputs"):
        bind(signature(), {UNNAMED: 1})


def test_no_batch_hint_for_a_later_dimension() -> None:
    with pytest.raises(InputMismatch, match=r"got \[1, 31\]$"):
        bind(signature(spec(shape=(None, 32))), {"x": [[0] * 31]})


def test_messages_stay_short() -> None:
    many = signature(*(spec(f"feature_{i}") for i in range(1000)))

    with pytest.raises(InputMismatch, match=r"\.\.\. \(990 more\)") as caught:
        bind(many, {"x" * 1_000_000: 1})

    assert len(str(caught.value)) < 600


def test_repeated_scalar_is_taken_once() -> None:
    switched = signature(
        spec("x", shape=(None,)), spec("training", "bool", (), default=np.array(False))
    )

    bound = bind(switched, {"x": [1.0, 2.0], "training": [True, True]})

    assert bound["training"].shape == ()
    assert bound["training"].item() is True

    with pytest.raises(InputMismatch, match="rows differ"):
        bind(switched, {"x": [1.0, 2.0], "training": [True, False]})
