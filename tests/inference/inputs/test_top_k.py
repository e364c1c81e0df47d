"""The best classes of each row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest

from inference.errors import InvalidRequest, InvalidSidecar
from inference.inputs.top_k import best_classes, check_classes, check_top_k
from inference.types import Part, Signature, TensorSpec
from tests.support.specs import signature, spec

if TYPE_CHECKING:
    from inference.types import Array, Shape

SCORES = spec("y", shape=(None, 3))
NAMES = ("cat", "dog", "owl")


def giving(*outputs: TensorSpec) -> Signature:
    return replace(signature(spec("x")), outputs={each.name: each for each in outputs})


@pytest.mark.parametrize(
    ("scores", "k", "classes"),
    [
        pytest.param([[0.2, 0.7, 0.1]], 2, [[1, 0]], id="best first"),
        pytest.param([[1, 2, 3], [3, 2, 1]], 1, [[2], [0]], id="each row"),
        pytest.param([[0.5, 0.9, 0.9, 0.5]], 4, [[1, 2, 0, 3]], id="ties by index"),
        pytest.param([[np.nan, 1, np.inf, -np.inf]], 4, [[2, 1, 3, 0]], id="no number"),
        pytest.param([[[1, 2], [2, 1]]], 1, [[[1], [0]]], id="each of a sequence"),
        pytest.param(np.zeros((0, 3)), 2, np.zeros((0, 2)), id="no rows"),
    ],
)
def test_the_best_by_score(scores: list[object], k: int, classes: list[object]) -> None:
    given = np.array(scores, "float32")
    found = best_classes(SCORES, given, k)
    best = np.take_along_axis(given, found["classes"], axis=-1)

    assert found["classes"].tolist() == np.array(classes).tolist()
    np.testing.assert_array_equal(found["scores"], best)
    assert found["scores"].dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_scores_of_other_floats_keep_their_type(dtype: type) -> None:
    found = best_classes(SCORES, np.array([[1, 3, 2]], dtype), 2)

    assert found["classes"].tolist() == [[1, 2]]
    assert found["scores"].dtype == dtype


def test_classes_have_names_where_there_are_as_many() -> None:
    scores = np.array([[0.1, 0.2, 0.7]], "float32")
    other = np.array([[0.1, 0.9]], "float32")
    inner = replace(SCORES, on_request=True)

    assert best_classes(SCORES, scores, 2, NAMES)["classes"].tolist() == [
        [b"owl", b"dog"]
    ]
    assert best_classes(SCORES, other, 1, NAMES)["classes"].tolist() == [[1]]
    assert best_classes(inner, scores, 1, NAMES)["classes"].tolist() == [[2]]


@pytest.mark.parametrize(
    ("scores", "k"), [(np.zeros((2, 3)), 4), (np.zeros(3), 1), (np.array(1.0), 1)]
)
def test_scores_found_too_few_at_run_time_are_refused(scores: Array, k: int) -> None:
    with pytest.raises(InvalidRequest, match="'top_k' must be"):
        best_classes(SCORES, scores, k)


@pytest.mark.parametrize(
    ("outputs", "k", "message"),
    [
        pytest.param([SCORES], 4, "from 1 to 3, the number of scores", id="too many"),
        pytest.param([SCORES], 0, "got 0", id="none"),
        pytest.param([SCORES, spec("z")], 1, "name the one with scores", id="two"),
        pytest.param([spec("y", "string", (None, 3))], 1, "a score", id="texts"),
        pytest.param([spec("y", "int64", (None, 3))], 1, "a score", id="whole numbers"),
        pytest.param([spec("y", shape=(None,))], 1, "a score", id="one score a row"),
        pytest.param([spec("y", shape=())], 1, "a score", id="a scalar"),
        pytest.param(
            [replace(SCORES, part=Part(of="y", kind="ragged", role="values"))],
            1,
            "a score",
            id="ragged",
        ),
    ],
)
def test_outputs_without_classes_are_refused(
    outputs: list[TensorSpec], k: int, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        check_top_k(giving(*outputs), [each.name for each in outputs], k)


@pytest.mark.parametrize("shape", [(None, 3), (None, 5, 3), (None, None), None])
def test_open_and_known_shapes_tell_classes(shape: Shape) -> None:
    found = giving(spec("y", shape=shape))

    check_top_k(found, ["y"], 3)
    check_classes(NAMES, [found])
    check_classes((), [found])


def test_classes_must_be_as_many_as_scores() -> None:
    inner = spec("inner", shape=(None, 2))
    found = giving(SCORES, replace(inner, on_request=True))

    with pytest.raises(InvalidSidecar, match="2 lines, and no output .* y has 3"):
        check_classes(("a", "b"), [found])
